from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from projner import languages
from projner.errors import JobError
from projner.translate.codec import Codec

transformers = pytest.importorskip("transformers")

SWAHILI, ENGLISH = languages.find("swh_Latn"), languages.find("eng_Latn")


@pytest.fixture(params=["nllb", "m2m", "legacy"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder with a tokenizer; `legacy` puts the language behind the text."""
    if request.param != "legacy":
        return request.getfixturevalue(request.param)
    folder = tmp_path / "legacy"
    shutil.copytree(request.getfixturevalue("nllb"), folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["legacy_behaviour"] = True
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return str(folder)


def test_frames_are_the_tokenizers_own(model: str, parallel: list[dict[str, str]]) -> None:
    codec, peer = Codec(model), transformers.AutoTokenizer.from_pretrained(model)
    peer.src_lang = "sw" if isinstance(peer, transformers.M2M100Tokenizer) else "swh_Latn"
    texts = [sentence["swh_Latn"] for sentence in parallel[:20]]
    framed = [codec.frame(ids, SWAHILI) for ids in codec.encode(texts)]
    assert framed == peer(texts)["input_ids"]
    assert peer.convert_ids_to_tokens(codec.token(SWAHILI)) in ("swh_Latn", "__sw__")


def test_decoding_undoes_encoding(model: str, parallel: list[dict[str, str]]) -> None:
    codec = Codec(model)
    texts = [sentence["eng_Latn"] for sentence in parallel[:20]]
    encoded = codec.encode(["  \t".join(text.split(" ")) for text in texts])
    assert codec.decode(encoded) == texts
    special = [codec.token(ENGLISH), *encoded[0], codec.end, codec.pad]
    assert codec.decode([special, []]) == [texts[0], ""]


def test_what_looks_special_in_a_text_is_text(model: str) -> None:
    codec = Codec(model)
    text = "Amina </s> eng_Latn <pad> __en__ <s> visited"
    (ids,) = codec.encode([text])
    assert {codec.end, codec.pad, codec.token(ENGLISH)}.isdisjoint(ids)
    assert codec.encode(["", " \n", "Amina"])[:2] == [[], []]
    assert codec.encode([]) == []


def test_codes_of_m2m100_are_those_of_languages(m2m: str) -> None:
    codec = Codec(m2m)
    known = {language.code for language in languages.all_languages() if codec.knows(language)}
    # 100 languages, of which FLORES-200 lacks Breton and Frisian.
    assert len(known) == 98
    assert {"swh_Latn", "zho_Hans", "nob_Latn", "nso_Latn", "arb_Arab", "azj_Latn"} <= known
    # Others that ISO 639 or a script keeps apart.
    assert known.isdisjoint({"zho_Hant", "azb_Arab", "ary_Arab", "nno_Latn", "bam_Latn"})


def test_only_languages_with_a_code_are_known(nllb: str) -> None:
    codec = Codec(nllb)
    known = [language.code for language in languages.all_languages() if codec.knows(language)]
    assert known == ["eng_Latn", "swh_Latn"]


def test_codes_of_mbart50_are_known_too(tmp_path: Path) -> None:
    peer = transformers.MBart50Tokenizer().train_new_from_iterator(["habari ya leo"] * 9, 300)
    peer.save_pretrained(tmp_path)
    codec = Codec(str(tmp_path))
    known = [language.code for language in languages.all_languages() if codec.knows(language)]
    assert len(known) == 52
    assert {"swh_Latn", "eng_Latn", "zho_Hans"} <= set(known)
    peer.src_lang = "sw_KE"
    (ids,) = codec.encode(["habari ya leo"])
    assert codec.frame(ids, SWAHILI) == peer("habari ya leo")["input_ids"]


def _bert(folder: Path, model: str) -> None:
    tokenizer = transformers.BertTokenizer(do_lower_case=False)
    tokenizer.train_new_from_iterator(["a b c"], 50).save_pretrained(folder)


def _without_vocabulary(folder: Path, model: str) -> None:
    settings = (Path(model) / "tokenizer_config.json").read_text()
    (folder / "tokenizer_config.json").write_text(settings)


def _broken(folder: Path, model: str) -> None:
    _without_vocabulary(folder, model)
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_bert, "its tokenizer has no language codes; choose an NLLB-200 or M2M-100 model"),
        (_without_vocabulary, "its tokenizer has no vocabulary; add the missing file"),
        (_broken, "its tokenizer cannot be loaded: "),
    ],
)
def test_unfit_tokenizers_are_refused(make, message: str, nllb: str, tmp_path: Path) -> None:
    make(tmp_path, nllb)
    with pytest.raises(JobError) as error:
        Codec(str(tmp_path))
    assert str(error.value).startswith(f"{tmp_path}: {message}")
    assert "\n" not in str(error.value)
