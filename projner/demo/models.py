"""The toy models of the demo: trained once on a machine, in less than a minute, and kept in the cache.

They are in the formats of the real ones, so that what runs with them is what runs with those.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from projner import cache, checkpoints, languages
from projner.demo.encoder import Pair
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1

LANGUAGES = {"eng": "eng_Latn", "swh": "swh_Latn", "hau": "hau_Latn"}
LIBRARIES = ("tokenizers", "torch", "transformers")


class Models(NamedTuple):
    """Folders with checkpoints."""

    translator: Path
    """NLLB-shaped: English and Swahili, English and Hausa, both ways."""
    tagger: Path
    """XLM-R-shaped: PER, LOC and ORG in English."""
    encoder: Path
    """BERT-shaped: aligns English words with Swahili and Hausa ones; see `encoder.LAYERS`."""


def models() -> Models:
    """The models, trained on the corpus's train split if the cache does not have them.

    One process at a time trains; a folder in the cache is whole.

    Raises JobError naming the extra where torch or transformers are not installed.
    """
    folder = _trained(location(), Models._fields)
    return Models(*(folder / name for name in Models._fields))


def marked_translator() -> Path:
    """A translator like `Models.translator` that was tuned to keep markers around entities.

    The demo does without. Trained and kept as the others are.
    """
    return _trained(_location("marked", ("translator", "marked")), ("marked",)) / "marked"


class Served(NamedTuple):
    """Folders with checkpoints of a kind that vLLM serves."""

    served_tagger: Path
    """Like `Models.tagger`, with larger heads of attention."""
    causal: Path
    """Llama-shaped: answers with translations from English, with and without markers; see
    `causal.PROMPT`."""


def served() -> Served:
    """The toy models for vLLM, which the demo does without. Trained and kept as the others are."""
    folder = _trained(_location("served", ("tagger", "causal", "marked")), Served._fields)
    return Served(*(folder / name for name in Served._fields))


def location() -> Path:
    """The folder in the cache for models of this version of the corpus, the code and the libraries."""
    return _location("demo", Models._fields)


def _location(name: str, modules: Sequence[str]) -> Path:
    try:
        versions = [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    except metadata.PackageNotFoundError:
        checkpoints.library()
        raise
    digest = hashlib.sha256(" ".join(versions).encode())
    here = Path(__file__).parent
    made_of = [here / f"{name}.py" for name in ("models", "training", *modules)]
    for file in [*made_of, *sorted(CORPUS.glob("train.*"))]:
        digest.update(file.read_bytes())
    return cache.folder() / f"{name}-{digest.hexdigest()[:16]}"


def _trained(folder: Path, names: Sequence[str]) -> Path:
    """`folder` with the models of these names in it."""
    if not folder.is_dir():
        checkpoints.library()
        # A dependency of torch and transformers.
        from filelock import FileLock

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _train_all(folder, names)
    return folder


def _train_all(folder: Path, names: Sequence[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    # Forked children of a process with threads, such as Ray's or torch's, may hang.
    fresh = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(len(names), mp_context=fresh) as pool:
            for done in [pool.submit(train, name, work / name) for name in names]:
                done.result()
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def train(name: str, folder: Path) -> None:
    """Train one of `Models`, of `Served`, or `marked`, by its name into `folder`."""
    transformers = checkpoints.library()
    transformers.utils.logging.disable_progress_bar()
    sides = {name: f1.read_labelled(str(CORPUS / f"train.{name}.conll")) for name in LANGUAGES}
    english = sides["eng"]
    if name == "translator":
        from projner.demo import translator

        parallel = [
            {LANGUAGES["eng"]: " ".join(ours), LANGUAGES[other]: " ".join(theirs)}
            for other in ("swh", "hau")
            for ours, theirs in zip(english.tokens, sides[other].tokens, strict=True)
        ]
        # Whole words as sub-words: these are translated after far fewer steps.
        translator.train(parallel, folder, steps=1200, pieces=2500)
    elif name == "marked":
        from projner.demo import marked, translator

        examples = [each for other in ("swh", "hau") for each in _marked(sides, other)]
        # Tags that were sub-words with their names would have to be learnt with every name.
        texts = [" ".join(words) for side in sides.values() for words in side.tokens]
        texts += marked.MARKERS * len(texts)
        english_only = {LANGUAGES["eng"]}
        translator.train(examples, folder, sources=english_only, texts=texts, steps=1500)
    elif name == "causal":
        from projner.demo import causal

        turns = []
        for other in ("swh", "hau"):
            source, target = (languages.find(LANGUAGES[code]) for code in ("eng", other))
            for pair in _marked(sides, other):
                prompt = causal.PROMPT.format(
                    source_code=source.iso639_1,
                    target_code=target.iso639_1,
                    text=pair[source.code],
                )
                turns.append(causal.Turn(prompt, pair[target.code]))
        causal.train(turns, folder)
    elif name in ("tagger", "served_tagger"):
        from projner.demo import tagger

        texts = [" ".join(words) for other in ("swh", "hau") for words in sides[other].tokens]
        heads = {"tagger": 4, "served_tagger": 1}[name]
        tagger.train(english.tokens, english.tags, folder, texts=texts, heads=heads)
    else:
        from projner.demo import encoder

        pairs = [
            Pair(*pair)
            for other in ("swh", "hau")
            for pair in zip(english.tokens, sides[other].tokens, read_links(other), strict=True)
        ]
        encoder.train(pairs, folder)


def _marked(sides: Mapping[str, f1.Labelled], other: str) -> list[dict[str, str]]:
    """Sentences in English and another language, some with markers around entities."""
    from projner.demo import marked

    sentences = (zip(sides[code].tokens, sides[code].tags, strict=True) for code in ("eng", other))
    both = [marked.Pair(*each) for each in zip(*sentences, read_links(other), strict=True)]
    return marked.examples(both, (LANGUAGES["eng"], LANGUAGES[other]))


def read_links(other: str, split: str = "train") -> list[list[tuple[int, int]]]:
    """The corpus's word links between English and another language, sentence by sentence."""
    lines = (CORPUS / f"{split}.eng-{other}.pharaoh").read_text(encoding="utf-8").splitlines()
    pairs = [[link.split("-") for link in line.split()] for line in lines]
    return [[(int(source), int(target)) for source, target in line] for line in pairs]
