"""The job file: frozen models with their defaults, and the fingerprints made of them.

One section per room; `Job` is the whole file. A model is validated when it is built, so whoever holds
one need not check it again.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import os
import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from projner import languages, storage
from projner.devices import Device, Precision
from projner.errors import JobError


def one_or_several(value: Any) -> Any:
    """What a list of texts is validated from: one of them may be written without a list."""
    return (value,) if isinstance(value, str) else value


def _without_credentials(location: str) -> str:
    if problem := storage.credentials(location):
        raise ValueError(problem)
    return location


def _language_code(name: str) -> str:
    return languages.find(name).code


Location = Annotated[str, AfterValidator(_without_credentials)]
"""A path or a URL."""
Paths = Annotated[tuple[Location, ...], BeforeValidator(one_or_several)]
"""Files, globs, folders or URLs; one may be written without a list."""
LanguageCode = Annotated[str, AfterValidator(_language_code)]
"""Any name that `languages.find` knows; kept as the FLORES-200 code."""
LanguageCodes = Annotated[
    tuple[LanguageCode, ...], BeforeValidator(one_or_several), Field(min_length=1)
]


File = TypeVar("File", bound="Section")


class Section(BaseModel):
    """A part of the job file: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Corpus(Section):
    """Where the sentences come from, and how they are written there."""

    format: Literal["conll", "jsonl", "text", "bitext", "parquet", "hub"]
    source: Paths = ()
    """conll, text, bitext: files of the source side. A bitext's are plain text or CoNLL, told apart
    by content."""
    target: Paths = ()
    """conll, text, bitext: files of the target side."""
    links: Paths = ()
    """Pharaoh files (`0-0 1-2`), or JSON lines with a list of pairs under `links_field`."""
    path: Paths = ()
    """jsonl, parquet: files with one record a row. hub: a data set's name or its folder on disk."""
    source_lang: LanguageCode
    target_lang: LanguageCodes
    root: Location = ""
    """Folder or URL that relative paths start from; the current folder by default."""
    documents: bool = False
    """text, jsonl, parquet, hub: each record is a document, whose sentences become the rows. In
    text, blank lines part documents. A line's end is always a sentence's."""
    on_error: Literal["fail", "status"] = "fail"
    """What bad tags, links and bytes do: stop before anything is written, or become a row's status."""
    skip: int = Field(0, ge=0)
    """Sentences to leave out at the beginning."""
    limit: int | None = Field(None, ge=1)
    """Sentences to read after those; all by default."""

    token_column: int = 0
    """CoNLL: the column of the word, counted from 0 (negative: from the last)."""
    tag_column: int = -1
    """CoNLL: the column of the tag."""
    scheme: Literal["IOB1", "IOB2", "IOBES"] = "IOBES"
    """The tags' scheme. IOBES reads the others too."""
    ignore: Paths = ()
    """Classes whose entities are dropped when they are read, such as MISC."""
    split: Literal["auto", "words", "whitespace"] = "auto"
    """How text becomes words: by the language's rule, or at white space. `auto`: at white space where
    links or tags are given for it, because these count words that way; by the rule elsewhere."""
    links_base: Literal[0, 1] = 0
    """The index of the first word in the links."""
    links_direction: Literal["source-target", "target-source"] = "source-target"
    links_column: int = -1
    """Pharaoh files with tabs: the column that holds the pairs."""
    links_field: str = "alignment"
    """JSON lines: the key that holds the pairs."""
    columns: dict[str, str] = {}
    """jsonl, parquet, hub: the field that holds each record column, such as
    `{target_text: translation.sw, id: uid}`; `source_tags` may stand for `source_entities`. Fields
    with a column's own name need not be told. Documents have one side's text, perhaps a `doc_id`."""
    name: str | None = None
    """hub: the data set's configuration."""
    data_split: str = "train"
    """hub: the split to read."""
    revision: str | None = None
    """hub: the revision to read."""

    def names(self) -> tuple[str, ...]:
        """Every file, glob, folder or URL that the corpus is made of."""
        return (*self.source, *self.target, *self.links, *self.path)

    @model_validator(mode="after")
    def _check_files(self) -> Corpus:
        paired = self.format == "bitext"
        if self.format in ("jsonl", "parquet", "hub"):
            if not self.path:
                raise ValueError(f"format {self.format} needs `path`")
            if self.source or self.target or self.links:
                raise ValueError(
                    f"format {self.format} takes its files under `path`, not `source`, `target` or "
                    "`links`"
                )
        elif self.path:
            raise ValueError(f"format {self.format} takes its files under `source` and `target`")
        elif paired and not (self.source and self.target):
            raise ValueError("format bitext needs `source` and `target`")
        elif not paired and bool(self.source) == bool(self.target):
            raise ValueError(
                f"format {self.format} needs one of `source` and `target`; for both, use bitext"
            )
        if self.documents and self.format in ("conll", "bitext"):
            raise ValueError(f"format {self.format} has sentences; documents are text or records")
        if self.links and not paired:
            raise ValueError("`links` needs format bitext")
        if len(self.target_lang) > 1 and (self.target or paired):
            raise ValueError("several target languages need a corpus with a source side alone")
        return self


class Py3langid(Section):
    """Language identification for 139 languages, with a model that comes with the library."""

    engine: Literal["py3langid"] = "py3langid"
    min_score: float = Field(0.5, gt=0, le=1)
    """Least probability of the language that the corpus is said to be in."""


class FastText(Section):
    """Language identification by a fastText model, such as OpenLID, GlotLID or NLLB's."""

    engine: Literal["fasttext"]
    model: str
    """The model's file, `.bin` or `.ftz`."""
    min_score: float = Field(0.5, gt=0, le=1)
    """Least probability of the language that the corpus is said to be in."""


Identify = Annotated[Py3langid | FastText, Field(discriminator="engine")]


class Filter(Section):
    """Sentences that are not worked on, by the sides that the corpus gives. Their rows stay."""

    min_words: int | None = Field(None, ge=1)
    """With fewer words a sentence is `filtered`."""
    max_words: int | None = Field(None, ge=1)
    """With more words a sentence is `too_long`."""
    min_chars: int | None = Field(None, ge=1)
    max_chars: int | None = Field(None, ge=1)
    language: Identify | None = None
    """Sentences in another language than the corpus is said to be in are `filtered`."""

    @model_validator(mode="after")
    def _check_limits(self) -> Filter:
        for unit in ("words", "chars"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if least and most and least > most:
                raise ValueError(f"min_{unit} {least} is more than max_{unit} {most}")
        return self


class Eflomal(Section):
    """Statistical word alignment by Gibbs sampling (Östling and Tiedemann 2016), both directions."""

    engine: Literal["eflomal"] = "eflomal"
    symmetrise: Literal["intersection", "union", "grow-diag-final-and", "forward", "reverse"] = (
        "grow-diag-final-and"
    )
    sample: int = Field(200_000, ge=1)
    """Sentence pairs that priors are learnt on; the others are aligned with these, batch by batch."""
    model: Literal[1, 2, 3] = 3
    """1: IBM1, 2: + HMM, 3: + fertility."""
    prefix: int | None = Field(4, ge=1)
    """First letters by which words are told apart, null for whole words. Rare forms of a word share what
    is learnt; the fewer sentences, the more that helps."""


class FineTune(Section):
    """Training without labels, on the corpus's own pairs, before they are aligned (Dou and Neubig 2021)."""

    objectives: Annotated[
        tuple[Literal["so", "co", "psi", "tlm", "mlm"], ...], Field(min_length=1)
    ] = ("so",)
    """so: what the model links itself should be linked surely. co: the two directions should agree.
    psi: translations are told from other sentences. tlm, mlm: masked sub-words are guessed, with the
    translation in sight or without. tlm and mlm need a model with its masked-language head. Each but co
    costs about as much as so, tlm twice as much."""
    steps: int = Field(2000, ge=1)
    pairs: int = Field(8, ge=2)
    """Sentence pairs of a step."""
    learning_rate: float = Field(2e-5, gt=0)
    sample: int = Field(100_000, ge=2)
    """Pairs to learn from, at most, taken from all over the corpus."""
    seed: int = 0


class Encoder(Section):
    """Links from the hidden states of a multilingual encoder, as awesome-align and SimAlign find them."""

    engine: Literal["encoder"]
    model: str = "google-bert/bert-base-multilingual-cased"
    """A folder, or a name on the Hugging Face hub: any encoder, or a translation model, whose encoder is
    used (TransAlign)."""
    revision: str | None = None
    """hub: the revision; pin it for a run that can be repeated."""
    layer: int = Field(8, ge=0)
    """Whose hidden states: 0 are the embeddings. 8 suits 12-layer encoders."""
    method: Literal["softmax", "entmax", "argmax", "itermax", "match"] = "softmax"
    """softmax, entmax: awesome-align. argmax, itermax, match: SimAlign."""
    threshold: float | None = Field(None, ge=0, lt=1)
    """softmax, entmax: both directions' least share; 0.001 and 0 by default."""
    unit: Literal["subword", "word"] = "subword"
    """What is linked: sub-words (words follow from these), or words by their sub-words' mean."""
    batch_tokens: int | None = Field(None, ge=1)
    """Sub-words, both sides and padding included, of a micro-batch; by default what suits the device."""
    device: Device = "auto"
    dtype: Precision = "auto"
    """On a CPU that computes in it, bfloat16 is twice as fast as float32, which `auto` means there."""
    fine_tune: FineTune | None = None


class AwesomeAlign(Section):
    """Links by the package awesome-align itself, with a BERT; slower than `encoder`."""

    engine: Literal["awesome-align"]
    model: str = "google-bert/bert-base-multilingual-cased"
    """A folder, or a name on the Hugging Face hub: a BERT, such as awesome-align's own fine-tuned ones."""
    revision: str | None = None
    """hub: the revision; pin it for a run that can be repeated."""
    layer: int = Field(8, ge=1)
    method: Literal["softmax", "entmax"] = "softmax"
    threshold: float = Field(0.001, ge=0, lt=1)
    """softmax: both directions' least share."""
    batch_tokens: int | None = Field(None, ge=1)
    """Sub-words, both sides and padding included, of a micro-batch; by default what suits the device."""
    device: Device = "auto"
    fine_tune: FineTune | None = None


class Surface(Section):
    """Links between words that look alike after transliteration; needs no model."""

    engine: Literal["surface"] = "surface"
    min_similarity: float = Field(0.65, gt=0, le=1)


Align = Annotated[Eflomal | Encoder | AwesomeAlign | Surface, Field(discriminator="engine")]


class Translate(Section):
    """Text into the other side's language, by NLLB-200, M2M-100 or a model with codes like theirs."""

    engine: Literal["ctranslate2", "transformers"] = "ctranslate2"
    """transformers is the reference, and slower."""
    model: str
    """A folder, or a name on the Hugging Face hub. For ctranslate2 also a folder with a converted
    model and its tokenizer."""
    revision: str | None = None
    """hub: the revision; pin it for a run that can be repeated."""
    beam_size: int = Field(4, ge=1)
    """1 is greedy search, and twice as fast or more."""
    max_length_ratio: float = Field(3, gt=0)
    """Sub-words of a translation for each one of its text, at most, and 20 more. One that does not
    end before that has failed."""
    min_length_ratio: float = Field(0.2, ge=0)
    """A translation with fewer sub-words for each one of its text has failed."""
    no_repeat_ngram_size: int = Field(0, ge=0)
    """Sub-words in a row that a translation must not repeat; 0: no such rule."""
    repetition_penalty: float = Field(1, ge=1)
    """What the score of a sub-word that came before is divided by; 1: no such rule."""
    split_over: int | None = Field(64, ge=8)
    """A text of more sub-words is split at its sentence ends, because models that were trained on
    sentences leave the later ones out."""
    batch_tokens: int | None = Field(None, ge=1)
    """Sub-words, padding included, of a micro-batch; by default 1,024 on a CPU and 8,192 on a GPU."""
    device: Device = "auto"
    dtype: Precision | Literal["int8", "int8_float16", "int8_bfloat16"] = "auto"
    """`auto` for ctranslate2: int8 on a CPU, float16 on a GPU."""
    language: Identify | None = None
    """What tells the language of a translation; one in another than was asked for has failed."""
    environment: str | None = None
    """The Python of another virtual environment that has the engine, such as `.venv-vllm/bin/python`, on
    every node that may hold the model. It has the same projner, Python, Ray and pyarrow."""

    @model_validator(mode="after")
    def _check_dtype(self) -> Translate:
        if self.engine == "transformers" and self.dtype.startswith("int8"):
            raise ValueError(f"dtype {self.dtype} needs engine ctranslate2")
        return self


PromptName = Literal["auto", "translategemma", "tower", "hy-mt", "qwen", "general"]
PROMPT_FIELDS = ("text", "source", "target", "source_code", "target_code", "keep")


class LanguageModel(Section):
    """Text into the other side's language by a language model that is asked to, with vLLM.

    A model with language codes is served too where the vLLM in use can; `prompt` says nothing then.
    """

    engine: Literal["vllm"]
    model: str
    """A folder, or a name on the Hugging Face hub: a decoder-only model that follows instructions, such as
    TranslateGemma, Tower, Hy-MT or Qwen, or that was trained to go on from `prompt`."""
    revision: str | None = None
    """hub: the revision; pin it for a run that can be repeated."""
    prompt: str = "auto"
    """How it is asked: translategemma, tower, hy-mt, qwen or general, by its name where this is `auto`; or
    a text with `{text}` and perhaps `{source}`, `{target}` (languages in English), `{source_code}`,
    `{target_code}` (ISO 639), and `{keep}`, where methods with markers ask to keep these."""
    chat: bool | None = None
    """Whether the prompt is a turn of a chat, framed as the model's tokenizer says; where it does by
    default. Otherwise the model goes on from it, and a line's end is the translation's."""
    temperature: float = Field(0, ge=0)
    """0: the likeliest sub-word each time. Above that they are drawn, from the same `seed` for each text."""
    top_p: float = Field(1, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    """0: among all."""
    seed: int = Field(0, ge=0)
    repetition_penalty: float = Field(1, ge=1)
    """What the score of a sub-word that came before is divided by; 1: no such rule."""
    stop: Paths = ()
    """Texts that end a translation where they appear, besides the model's own end."""
    clean: bool = True
    """Whether what chats around a translation (thoughts, introductions, quotation marks, notes) goes."""
    max_length_ratio: float = Field(3, gt=0)
    """Sub-words of a translation for each one of its text, at most, and 20 more. One that does not
    end before that has failed."""
    min_length_ratio: float = Field(0.2, ge=0)
    """A translation with fewer sub-words for each one of its text has failed."""
    split_over: int | None = Field(None, ge=8)
    """A text of more sub-words is split at its sentence ends."""
    max_tokens: int = Field(2048, ge=64)
    """Sub-words that a prompt and its answer may have together, at most what the model reads."""
    gpu_memory: float = Field(0.9, gt=0, le=1)
    """The share of a GPU that vLLM takes. With several GPUs (`resources.translate.gpus`), an actor spreads
    the model over them."""
    device: Device = "auto"
    dtype: Precision = "auto"
    language: Identify | None = None
    """What tells the language of a translation; one in another than was asked for has failed."""
    environment: str | None = None
    """The Python of another virtual environment that has the engine, such as `.venv-vllm/bin/python`, on
    every node that may hold the model. It has the same projner, Python, Ray and pyarrow."""

    @model_validator(mode="after")
    def _check_prompt(self) -> LanguageModel:
        if self.prompt in get_args(PromptName):
            return self
        try:
            fields = [field for _, field, *_ in string.Formatter().parse(self.prompt)]
        except ValueError as error:
            raise ValueError(f"prompt: {error}; write a brace of its own as {{{{ or }}}}") from None
        unknown = {str(field) for field in fields if field is not None} - {*PROMPT_FIELDS}
        if unknown or "text" not in fields:
            problem = f"has no {{{min(unknown)}}}" if unknown else "has {text} in it"
            known = ", ".join(get_args(PromptName))
            raise ValueError(f"a prompt of one's own {problem}; it may also be one of {known}")
        return self


def _kind_of_translate(value: Any) -> str:
    given = value.get("engine") if isinstance(value, Mapping) else getattr(value, "engine", None)
    return "vllm" if given == "vllm" else "codes"


Translation = Annotated[
    Annotated[Translate, Tag("codes")] | Annotated[LanguageModel, Tag("vllm")],
    # So that an error is about what was meant, and an engine need not be named.
    Discriminator(_kind_of_translate),
]


class Label(Section):
    """Entities by a fine-tuned tagger: any `AutoModelForTokenClassification`, on either side."""

    engine: Literal["transformers", "vllm"] = "transformers"
    model: str
    """A folder, or a name on the Hugging Face hub."""
    revision: str | None = None
    """hub: the revision; pin it for a run that can be repeated."""
    rename: dict[str, str] = {}
    """Classes of the model that get another name, such as `{GPE: LOC}`; two may become one."""
    ignore: Paths = ()
    """Classes of the model, or whole labels of it, that count as O."""
    pooling: Literal["first", "mean", "max"] = "first"
    """A word's probabilities: its first sub-word's, the mean, or those of the surest sub-word."""
    max_tokens: int | None = Field(None, ge=8)
    """Sub-words, special ones included, that the model reads at once; its own limit by default.
    Longer sentences are read in windows."""
    overlap: int | None = Field(None, ge=0)
    """Sub-words that two windows share; a quarter of `max_tokens` by default."""
    batch_tokens: int | None = Field(None, ge=1)
    """Sub-words, padding included, of a micro-batch; by default 1,024 on a CPU, 16,384 on a GPU. vllm: of
    any one time, without padding."""
    gpu_memory: float = Field(0.9, gt=0, le=1)
    """vllm: the share of a GPU that it takes."""
    device: Device = "auto"
    dtype: Precision = "auto"
    environment: str | None = None
    """The Python of another virtual environment that has the engine, such as `.venv-vllm/bin/python`, on
    every node that may hold the model. It has the same projner, Python, Ray and pyarrow."""


ScoreName = Literal["evidence", "align", "align_gap", "ner", "ner_spans", "nmt", "codec"]
Score = Annotated[
    Annotated[ScoreName, Tag("one")]
    | Annotated[dict[ScoreName, Annotated[float, Field(gt=0)]], Tag("several")],
    # So that an error is about what was meant.
    Discriminator(lambda value: "several" if isinstance(value, Mapping) else "one"),
]


Filters = Literal["COMP-SRC", "COMP-TGT", "COMP-INS", "RSTR-TGT"]


class Project(Section):
    """How labels reach the target side."""

    method: Literal[
        "match", "heuristic", "span", "transfer", "ensemble", "marked", "back_translation"
    ] = "match"
    """match: the spans of best total score. heuristic: runs of linked words (García-Ferrero et al.
    2022). span: from an entity's first linked word to its last. marked: the source side is translated
    with markers around its entities, and becomes the target side (EasyProject, LabelPigeon).
    back_translation: it is translated so, aligned with the target side in the same language, and the
    labels go on along these links (Politov et al. 2025). transfer: what a tagger sees on the target
    side. ensemble: the mean of that and of what it sees on the source side, carried through the links
    (arXiv 2505.10507)."""
    score: Score = "evidence"
    """match: how well a span projects an entity, see `projner.project.scores`; or several scores with
    their weights, such as `{align: 0.5, ner_spans: 0.5}`, whose weighted mean it is. ner, ner_spans: by
    what a tagger sees on the target side. nmt: by how likely the translation model finds the pair.
    codec: by how probably it would put the entity's markers there (Le et al. 2024)."""
    surface: float | None = Field(0.65, gt=0, le=1)
    """match: least similarity of links between words that look alike; null for none. `evidence` weighs
    them beside the others; in other scores they replace a word's own links."""
    candidates: Literal["ngram", "linked", "ner"] = "ngram"
    """match: which spans compete: all n-grams (without those that could not be chosen anyway), only
    those that begin and end at linked words, or only those that a tagger finds on the target side,
    whatever class it gives them."""
    max_words: int = Field(10, ge=1)
    """match: words of a span, at most."""
    solver: Literal["exact", "greedy", "milp"] = "exact"
    """match: exact and milp (OR-tools) give the same; greedy takes the best remaining pair."""
    limit: Annotated[int, Field(ge=1)] | Literal["unlimited"] | None = None
    """How many spans an entity may have: by default 1 under match, unlimited under heuristic."""
    relation: Literal["<=", "=", ">="] = "<="
    """match: whether `limit` is the most, the exact or the least number."""
    merge: int = Field(1, ge=0)
    """heuristic: words between two runs that become one."""
    ratio: float = Field(0.8, ge=0)
    """heuristic: a run has more than this share of the entity's number of words."""
    markers: Literal["brackets", "xml"] = "brackets"
    """marked, back_translation, codec: what stands around an entity in the text that is translated,
    `[ Ada ]` or `<a>Ada</a>`."""
    through: Literal["match", "heuristic", "span"] = "match"
    """back_translation: the method that takes labels from the back-translation to the target side, with
    its settings here."""
    min_score: float | None = Field(None, ge=0)
    """Projected entities of a lower score are left out, and stand in `abstained`."""
    min_margin: float | None = Field(None, ge=0)
    """match: the same by margin: how much worse the best solution without an entity is."""
    min_confidence: float | None = Field(None, ge=0, le=1)
    """The same by confidence: the probability that a projection is right. match with one score by links,
    heuristic and span have one."""
    filters: Annotated[tuple[Filters, ...], BeforeValidator(one_or_several)] = ()
    """For training data (arXiv 2505.10507): a sentence is `filtered` unless every word of its source
    entities is linked (COMP-SRC), each entity's linked target words are consecutive (COMP-TGT), every
    class has as many entities on both sides (COMP-INS). RSTR-TGT: of a source word's links, the one to
    the first target word alone counts."""
    languages: dict[LanguageCode, Project] = {}
    """What differs for rows of a target language, such as `{hau_Latn: {score: align}}`."""

    @model_validator(mode="before")
    @classmethod
    def _languages_differ_from_the_rest(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("languages"), Mapping):
            return data
        rest = {key: value for key, value in data.items() if key != "languages"}
        whole = {}
        for name, keys in data["languages"].items():
            whole[name] = {**rest, **keys} if isinstance(keys, Mapping) else keys
            if isinstance(keys, Mapping) and keys.get("languages"):
                raise ValueError(
                    f"languages.{name}: `languages` within `languages`; leave them out"
                )
        return {**data, "languages": whole}

    def of(self, language: str) -> Project:
        """The settings for rows of a target language (FLORES-200)."""
        return self.languages.get(language, self)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each score."""
        return {self.score: 1.0} if isinstance(self.score, str) else dict(self.score.items())

    @property
    def most(self) -> int | None:
        """`limit` as a number, None where there is none."""
        if self.limit is None:
            return 1 if self.method == "match" else None
        return None if self.limit == "unlimited" else self.limit

    @model_validator(mode="after")
    def _check_limit(self) -> Project:
        if not self.weights:
            raise ValueError("`score` has no scores; name one, or leave it out")
        if self.relation != "<=" and self.most is None:
            raise ValueError(f"relation {self.relation} needs a number under `limit`")
        method = self.through if self.method == "back_translation" else self.method
        if self.min_margin is not None and (method != "match" or self.solver == "greedy"):
            raise ValueError("min_margin needs method match and an exact solver; use min_score")
        return self


class Evaluate(Section):
    """Gold labels that figures are computed against."""

    gold: Location | dict[LanguageCode, Location] | None = None
    """CoNLL file that labels the corpus's target side, sentence by sentence; with several target
    languages, the file of each that has one."""
    ignore: Paths = ()
    """Classes that do not count."""


class Compare(Section):
    """What `projner compare` compares on this corpus."""

    methods: dict[str, dict[str, Any] | None] = {}
    """By name, the keys of this file that are other than they stand here, such as
    `{project: {score: align}, align: {method: itermax}}`; nothing for a method that has that name
    already. All such methods by default."""


class Pool(Section):
    """Actors that hold one stage's model."""

    actors: Annotated[int, Field(ge=1)] | tuple[int, int] = 1
    """How many, or the least and the most of a pool that grows and shrinks."""
    cpus: float | None = Field(None, ge=0)
    """CPUs of each; by default an equal part of what is there."""
    gpus: float | None = Field(None, ge=0)
    """GPUs of each; by default one, or an equal part where there are fewer GPUs than actors."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Pool:
        if isinstance(self.actors, tuple) and not 1 <= self.actors[0] <= self.actors[1]:
            raise ValueError("actors: give [least, most], at least 1")
        return self


class Resources(Section):
    """What a job may use; never part of a fingerprint."""

    translate: Pool = Pool()
    label: Pool = Pool()
    align: Pool = Pool()
    batch_rows: int = Field(2048, ge=1)
    """Rows that a model stage is given at once; it sorts them by length."""
    shard_rows: int = Field(20_000, ge=1)
    """Rows of an output shard, at most."""


class Job(Section):
    """A whole job file."""

    corpus: Corpus
    filter: Filter | None = None
    translate: Translation | None = None
    translate_marked: Translation | None = None
    """The model for texts with markers around entities, such as one that was tuned to keep them; by
    default `translate`."""
    label: Label | None = None
    label_target: Label | None = None
    """The tagger of the target side, where a projection method looks at one; by default `label`."""
    align: tuple[Align, ...] = ()
    project: Project = Project()
    evaluate: Evaluate = Evaluate()
    compare: Compare = Compare()
    output: Location | None = None
    resources: Resources = Resources()

    @model_validator(mode="before")
    @classmethod
    def _one_aligner_needs_no_list(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("align"), Mapping):
            return {**data, "align": [data["align"]]}
        return data


def load(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Job:
    """The job in a YAML file, with `section.key=value` overrides applied (values are YAML too).

    Raises JobError naming file, line and mend.
    """
    return JobFile.read(path, overrides).job


@dataclass(frozen=True)
class JobFile:
    """A job file as it was written, and the job that it describes."""

    path: str
    data: dict[str, Any]
    """Its sections, with `overrides` applied."""
    overrides: tuple[str, ...]
    job: Job

    @classmethod
    def read(cls, path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> JobFile:
        """Raises JobError as `load` does."""
        data, text = _read(path, Job)
        overrides = tuple(overrides)
        overridden = {_apply(override, data) for override in overrides}
        job = build(data, lambda location: _where(str(path), text, location, overridden))
        return cls(str(path), data, overrides, job)

    def changed(self, changes: Mapping[str, Any], name: str, whole: Iterable[str] = ()) -> Job:
        """The job with some keys other than they stand in the file; overrides still win.

        Sections named in `whole` take the place of the file's. Raises JobError that says where,
        under `name`.
        """
        return build(self.changed_data(changes, whole), lambda place: name)

    def changed_data(self, changes: Mapping[str, Any], whole: Iterable[str] = ()) -> dict[str, Any]:
        """What `changed` builds the job from."""
        kept = {name: section for name, section in self.data.items() if name not in set(whole)}
        data = merged(kept, changes)
        for override in self.overrides:
            _apply(override, data)
        return data


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the keys of `changes`, section by section; a section with another `engine` is
    replaced, because no key of the old one has a meaning for it."""
    result = copy.deepcopy(dict(data))
    for key, value in changes.items():
        before = result.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            same = value.get("engine", before.get("engine")) == before.get("engine")
            result[key] = merged(before if same else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def read(path: str | os.PathLike[str], kind: type[File], overrides: Iterable[str] = ()) -> File:
    """A YAML file of another kind than a job, read as `load` does."""
    data, text = _read(path, kind)
    overridden = {_apply(override, data) for override in overrides}
    return _built(data, kind, lambda location: _where(str(path), text, location, overridden))


def _read(path: str | os.PathLike[str], kind: type[Section]) -> tuple[dict[str, Any], str]:
    """A file's sections and text."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise JobError(f"{path}: cannot read the job file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise JobError(
            f"{path}: byte {error.start} is not UTF-8; save the job file as UTF-8"
        ) from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise JobError(f"{path}{_mark(error)}: not valid YAML: {_problem(error)}") from None
    if not isinstance(data, dict):
        name, (first, second, *_) = kind.__name__.lower(), kind.model_fields
        raise JobError(f"{path}: a {name} file holds sections such as `{first}:` and `{second}:`")
    return data, text


def build(data: Mapping[str, Any], where: Any = None) -> Job:
    """The job that nested mappings describe.

    Raises JobError for the first thing that is wrong. `where`, if given, turns the path of a key
    into the text that says where it stands.
    """
    return _built(data, Job, where or ".".join)


def _built(data: Mapping[str, Any], kind: type[File], where: Callable[[list[str]], str]) -> File:
    try:
        return kind.model_validate(data)
    except ValidationError as invalid:
        raise JobError(_first_error(invalid, kind, where)) from None


def fingerprint(*parts: Any) -> str:
    """16 hex digits that change when anything in `parts` (JSON values or sections) does."""
    plain = [part.model_dump(mode="json") if isinstance(part, Section) else part for part in parts]
    canonical = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _apply(override: str, data: dict[str, Any]) -> str:
    key, equals, value = override.partition("=")
    names = key.split(".")
    if not equals or not all(names):
        raise JobError(f"--set {override}: write it as section.key=value")
    node = data
    for name in names[:-1]:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise JobError(f"--set {override}: {name} holds no keys")
    try:
        node[names[-1]] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise JobError(f"--set {override}: {value!r} is not valid YAML") from None
    return key


def _first_error(
    invalid: ValidationError, kind: type[Section], where: Callable[[list[str]], str]
) -> str:
    error = invalid.errors(include_url=False)[0]
    location = _place([str(part) for part in error["loc"]], error["type"], kind)
    place = where(location)
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key `{location[-1]}`{_nearest(location, kind)}"
    if error["type"] == "missing":
        return f"{place}: `{'.'.join(location)}` is missing"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{place}: {'.'.join(location)}: holds keys of its own, not {error['input']!r}"
    message = re.sub(r"^Value error, ", "", error["msg"])
    return f"{place}: {'.'.join(location)}: {message}" if location else f"{place}: {message}"


def _place(parts: list[str], error: str, kind: type[Section]) -> list[str]:
    """The keys and list positions among the parts of an error's place; the rest names alternatives."""
    location: list[str] = []
    for number, part in enumerate(parts):
        unknown = error == "extra_forbidden" and number == len(parts) - 1
        if unknown or part.isdigit() or part in _keys(location, kind):
            location.append(part)
    return location


def _nearest(location: list[str], kind: type[Section]) -> str:
    known = _keys(location[:-1], kind)
    close = difflib.get_close_matches(location[-1], known, n=1, cutoff=0)
    return f"; did you mean `{close[0]}`?" if close else ""


def _keys(location: list[str], kind: type[Section]) -> list[str]:
    """Keys that the section at `location` of a file knows, over all its engines."""
    models: list[Any] = [kind]
    for name in location:
        if name.isdigit():
            continue
        models = [m for model in models for m in _models(model.model_fields[name].annotation)]
    return [key for model in models for key in model.model_fields]


def _models(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _where(path: str, text: str, location: list[str], overridden: set[str]) -> str:
    dotted = ".".join(location)
    if any(dotted == key or dotted.startswith(key + ".") for key in overridden):
        return f"--set {dotted}"
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = node.start_mark.line if node else 0
    for name in location:
        if isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
            node = node.value[int(name)]
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == name]
            if not found:
                break
            line, node = found[0][0].start_mark.line, found[0][1]
    return f"{path}:{line + 1}"


def _mark(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or str(error).splitlines()[0]
