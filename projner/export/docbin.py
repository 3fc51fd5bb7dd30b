"""spaCy's training format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from projner import languages
from projner.errors import JobError
from projner.export.sentences import Sentence


def spacy(sentences: Iterable[Sentence], path: Path) -> None:
    """A `DocBin` file (`.spacy`) of blank documents, one a sentence, with their entities.

    Raises JobError where spaCy is not installed.
    """
    try:
        import spacy as library
        from spacy.tokens import Doc, DocBin, Span
    except ImportError as error:
        raise JobError(
            f"format spacy needs spaCy ({error}): pip install 'projner[spacy]'"
        ) from None
    vocab = library.blank("xx").vocab
    docs = DocBin(store_user_data=True)
    for sentence in sentences:
        places = sentence.offsets()
        following = [*(start for start, _ in places[1:]), len(sentence.text)]
        spaces = [
            sentence.text[end:start].startswith(" ")
            for (_, end), start in zip(places, following, strict=True)
        ]
        doc = Doc(vocab, words=sentence.tokens, spaces=spaces)
        doc.ents = [
            Span(doc, each["start"], each["end"], each["label"]) for each in sentence.entities
        ]
        doc.user_data["id"] = str(sentence.id)
        doc.user_data["lang"] = languages.find(sentence.language).code
        docs.add(doc)
    docs.to_disk(path)
