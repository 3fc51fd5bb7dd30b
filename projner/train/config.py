"""The training file: what a tagger learns from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from projner.config import LanguageCode, Paths, Section, one_or_several
from projner.devices import Device, Precision
from projner.train.trackers import Tracker


def _one_section_or_several(value: Any) -> Any:
    return (value,) if isinstance(value, Mapping | Section) else value


class Gold(Section):
    """A CoNLL file with labels that people made."""

    path: str
    token_column: int = 0
    """The column of the word, counted from 0 (negative: from the last)."""
    tag_column: int | None = None
    """The column of the tag; by default the last one in which most lines have one."""

    @model_validator(mode="before")
    @classmethod
    def _a_path_alone(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data


class Data(Section):
    """Labelled sentences: of runs, of gold files, or of both."""

    runs: Paths = ()
    """Run folders, or output folders that hold one; their newest snapshots are learnt from."""
    gold: Annotated[tuple[Gold, ...], BeforeValidator(one_or_several)] = ()
    """CoNLL files: a path, or a section with `path`, `token_column` and `tag_column`."""
    side: Literal["target", "source"] = "target"
    """runs: whose words and labels are learnt from."""
    languages: Annotated[tuple[LanguageCode, ...], BeforeValidator(one_or_several)] = ()
    """runs: the target languages whose rows are learnt from; all by default."""
    ignore: Paths = ()
    """Classes whose entities count as O."""
    min_confidence: float | None = Field(None, ge=0, le=1)
    """runs: a sentence with an entity of less confidence (its score, where it has none) is left out."""
    weigh: bool = False
    """runs: the words of an entity weigh its confidence in the loss."""
    negatives: float | None = Field(None, ge=0)
    """Sentences without entities, for each one with entities, at most; all by default."""
    gold_share: float = Field(1, gt=0, le=1)
    """Share of the gold sentences, drawn by `seed`; a smaller share is a part of a larger one."""
    runs_share: float = Field(1, gt=0, le=1)
    """The same of the runs' sentences, of those that `min_confidence` leaves."""
    limit: int | None = Field(None, ge=1)
    """Sentences in all, at most, drawn by `seed`."""


class Learned(Section):
    """Weights of teachers, sentence by sentence, by how much it is like the language of each (Wu et al.
    2020, arXiv 2004.12440): a classifier learns to tell these languages apart by what an encoder makes of
    their sentences, and is then shown those that the teachers have labelled."""

    model: str
    """The encoder, one that knows all of the languages: a folder, or a name on the Hugging Face hub."""
    revision: str | None = None
    """hub: the revision; pin it for a training that can be repeated."""
    texts: Annotated[tuple[Gold, ...], BeforeValidator(one_or_several)]
    """For each of `runs` a CoNLL file in the language that its tagger learnt from."""
    sentences: int = Field(2000, ge=1)
    """Of each text, at most."""
    rank: int = Field(64, ge=1)
    """Of the matrix that compares sentences with languages."""
    orthogonality: float = Field(0.01, ge=0)
    """What it costs that the vectors of two languages are alike."""


def _kind_of_weights(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    return "learned" if isinstance(value, Mapping | Learned) else "numbers"


Weights = Annotated[
    Annotated[Literal["uniform"], Tag("name")]
    | Annotated[tuple[Annotated[float, Field(ge=0)], ...], Tag("numbers")]
    | Annotated[Learned, Tag("learned")],
    Discriminator(_kind_of_weights),
]


class Teachers(Section):
    """Taggers whose label probabilities a student learns, on text that nobody has labelled."""

    runs: Annotated[Paths, Field(min_length=1)]
    """Of each teacher the run of a job over the same text, of method transfer (or ensemble): their newest
    snapshots have the probabilities."""
    weights: Weights = "uniform"
    """What each teacher's word counts: all the same, a number for each, or a section with `model` and
    `texts` for weights by the likeness of languages."""
    labels: Literal["soft", "agreed", "hard"] = "soft"
    """soft: the student learns the teachers' mean (`soft_loss`). agreed: where all of them give a word the
    same label, that one is certain (UniTrans, Wu et al. 2020, arXiv 2007.07683). hard: it learns the
    likeliest label of the mean as it learns gold."""
    min_confidence: float = Field(0, ge=0, le=1)
    """Words whose likeliest label has less probability than this are not learnt from."""
    share: float = Field(1, gt=0, le=1)
    """Share of the sentences, drawn by `seed`."""
    weight: float = Field(1, gt=0)
    """What a word counts in the loss beside one of `data`. The gradients of mse are 20 to 40 times smaller
    than those of a label that is given; kl's are as large."""

    @model_validator(mode="after")
    def _check(self) -> Teachers:
        weights = self.weights
        if isinstance(weights, str):
            return self
        for_each, given = (
            ("texts", len(weights.texts))
            if isinstance(weights, Learned)
            else ("numbers", len(weights))
        )
        if given != len(self.runs):
            raise ValueError(
                f"`weights` has {given} {for_each} for {len(self.runs)} runs; give one for each"
            )
        if not isinstance(weights, Learned) and not sum(weights):
            raise ValueError("`weights` are all 0; give one of them more")
        return self


class SelfTraining(Section):
    """Rounds of labelling text with the newest tagger and training on `data` and what it is sure of."""

    jobs: Annotated[Paths, Field(min_length=1)]
    """Job files of method transfer over text in the tagger's language; several for several texts. In
    each round the newest tagger is the model of their `label_target`."""
    rounds: int = Field(3, ge=1)
    """At most: the first round that gains no F1 on `dev` is the last, and the best tagger is kept."""
    labels: Literal["hard", "soft"] = "hard"
    """As of `teachers`."""
    min_confidence: float = Field(0.9, ge=0, le=1)
    """Words whose label has less probability than this are not learnt from."""
    weight: float = Field(1, gt=0)
    """What a word counts in the loss beside one of `data`."""


class Auxiliary(Section):
    """What else a CoNLL-U file tells of its words: a head of its own learns it from the same encoder's
    states as the tags, and is dropped when the tagger is saved."""

    path: Annotated[Paths, Field(min_length=1)]
    """CoNLL-U files, in whichever languages; their labels are one set."""
    column: Literal["upos", "xpos", "feats", "head", "deprel"] = "upos"
    """`head`: how many words before or after it a word's head is, so that arcs are learnt as tags are
    (Vacareanu et al. 2020, "Parsing as Tagging"). Words with `_` are not learnt from."""
    weight: float = Field(0.5, gt=0)
    """What the mean loss of its words counts beside that of the tags."""
    batch: int | None = Field(None, ge=1)
    """Its sentences in an optimiser step, over all workers; as many as of the others by default."""


class Alignment(Section):
    """Linked words of parallel text, whose states are pulled together while the tags are learnt."""

    runs: Annotated[Paths, Field(min_length=1)]
    """Run folders, or output folders that hold one: pairs of words that are linked to each other alone,
    in the rows of their newest snapshots that are ok."""
    loss: Literal["contrastive", "cosine"] = "contrastive"
    """`contrastive`: a word's counterpart is to be nearer than the other words of the step. `cosine`: it
    is to be near, whatever else is."""
    weight: float = Field(0.1, ge=0)
    """What the mean loss of its pairs of words counts beside that of the tags. With 0 nothing is learnt,
    and how near counterparts are is measured all the same."""
    layer: int | None = Field(None, ge=0)
    """The encoder's layer whose states are compared; the last by default, which the tags are told by."""
    temperature: float = Field(0.1, gt=0)
    """contrastive: what cosines are divided by."""
    batch: int | None = Field(None, ge=1)
    """Sentence pairs in an optimiser step, over all workers; as many as of the others by default."""
    max_tokens: int = Field(128, ge=8)
    """Sub-words of a side; longer pairs are left out."""
    limit: int | None = Field(100_000, ge=1)
    """Sentence pairs in all, at most, drawn by `seed`."""
    held_out: int = Field(200, ge=0)
    """Sentence pairs that are not learnt from: among their words it is measured, at each evaluation, how
    many are nearest to their counterpart. A tenth of all, at most."""


class Workers(Section):
    """The processes that train together; never part of what decides the result but for `count`."""

    count: Annotated[int, Field(ge=1)] | tuple[int, int] = 1
    """How many, or the least and the most of a group that grows and shrinks with the cluster."""
    cpus: float | None = Field(None, gt=0)
    """CPUs that each holds and computes on. By default they hold half of what is there, for data stream
    beside them, and compute on all of it."""
    gpus: float | None = Field(None, ge=0)
    """GPUs of each; one where the cluster has any, by default."""
    max_failures: int = Field(3, ge=-1)
    """Lost workers after which the training gives up; -1: never."""

    @model_validator(mode="after")
    def _check(self) -> Workers:
        if isinstance(self.count, tuple) and not 1 <= self.count[0] <= self.count[1]:
            raise ValueError("count is a number, or the least and the most of at least 1")
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most workers."""
        return self.count if isinstance(self.count, tuple) else (self.count, self.count)


class Training(Section):
    """A whole training file."""

    model: str
    """The encoder to fine-tune: a folder, or a name on the Hugging Face hub. A tagger keeps its labels."""
    revision: str | None = None
    """hub: the revision; pin it for a training that can be repeated."""
    layers: int | None = Field(None, ge=1)
    """The encoder's first layers alone, for a student smaller than its teacher; all by default."""
    data: Data = Data()
    teachers: Annotated[tuple[Teachers, ...], BeforeValidator(_one_section_or_several)] = ()
    """Distillation, instead of `data` or beside it; several sections for several texts."""
    self_training: SelfTraining | None = None
    """After a first round of `data` and `teachers`, further ones in which the newest tagger teaches."""
    dev: Gold | None = None
    """Gold that checkpoints are compared on; without it the last one is kept."""
    output: str | None = None
    auxiliary: Annotated[tuple[Auxiliary, ...], BeforeValidator(_one_section_or_several)] = ()
    """Other tasks to learn at the same time: a section, or a list of them."""
    alignment: Alignment | None = None
    epochs: float = Field(3, gt=0)
    batch: int = Field(32, ge=1)
    """Sentences of an optimiser step, over all workers."""
    batch_tokens: int | None = Field(None, ge=1)
    """Sub-words, padding included, that a worker computes at once: a step's sentences are worked off in
    such parts and their gradients added up. By default 2,048 on a CPU and 16,384 on a GPU."""
    learning_rate: float = Field(5e-5, gt=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises; it falls to 0 in the others."""
    weight_decay: float = Field(0.01, ge=0)
    max_gradient: float = Field(1.0, gt=0)
    """Norm at which gradients are clipped."""
    patience: int | None = Field(None, ge=1)
    """Evaluations without a better F1 on `dev` after which training stops; never by default."""
    evaluations: int = Field(1, ge=1)
    """Evaluations, and checkpoints, in an epoch."""
    max_tokens: int | None = Field(None, ge=8)
    """Sub-words, special ones included, that the model reads at once; its own limit by default."""
    soft_loss: Literal["mse", "kl"] = "mse"
    """How teachers' probabilities are matched: by the squared distance of the softmax, or by its
    Kullback-Leibler divergence."""
    seed: int = 0
    device: Device = "auto"
    dtype: Precision = "auto"
    """What is computed in; weights stay float32. `auto`: bfloat16 on a GPU that has it."""
    workers: Workers = Workers()
    trackers: tuple[Tracker, ...] | None = None
    """Where figures go as they come: `tensorboard` (into the output), `mlflow`, `wandb`. By default to
    TensorBoard, where it is installed."""

    @model_validator(mode="before")
    @classmethod
    def _dev_may_be_a_path(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("dev"), str):
            return {**data, "dev": {"path": data["dev"]}}
        return data

    @model_validator(mode="after")
    def _check(self) -> Training:
        if not (self.data.runs or self.data.gold or self.teachers):
            raise ValueError(
                "names nothing to learn from; give `runs` or `gold` under `data`, or `teachers`"
            )
        if self.self_training is not None and self.dev is None:
            raise ValueError("self_training compares its rounds on gold; name some under `dev`")
        if self.patience is not None and self.dev is None:
            raise ValueError("patience needs gold under `dev`")
        return self
