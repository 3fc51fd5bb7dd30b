"""Fits the coefficients of confidences on development data, and says how they hold on other data.

`python jobs/calibrate.py DATA [--write FILE]`, where DATA is the folder from which `jobs/benchmarks` start.
FILE is `projner/project/confidence.json` where the coefficients are to be used.
"""

import argparse
import json
from pathlib import Path

from projner import config, methods
from projner.evaluate import calibration
from projner.evaluate.calibration import METHODS, Samples, joined
from projner.project import confidence
from projner.report.table import table

HERE = Path(__file__).parent
PREDICTED = ("bambara",)
"""Corpora whose source labels are a tagger's."""


def development(job: config.Job) -> config.Job:
    """The same corpus, but its train set, or the sentences before those that the job takes."""
    plain = job.model_dump(mode="json", exclude_unset=True)
    corpus = plain["corpus"]
    if job.corpus.skip:
        corpus["limit"] = corpus.pop("skip")
    else:
        text = json.dumps(plain)
        plain = json.loads(text.replace("/test/", "/train/"))
    return config.build(plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    jobs = {
        path.stem: config.load(path, [f"corpus.root={options.data}"])
        for path in sorted((HERE / "benchmarks").glob("*.yaml"))
    }
    written: dict[str, dict[str, float]] = {}
    rows = []
    for method in METHODS:
        project = methods.named(method)
        fitted: dict[str, list[Samples]] = {}
        held: dict[str, list[Samples]] = {}
        for name, job in jobs.items():
            family = name.partition("-")[0]
            for kept, each in ((fitted, development(job)), (held, job)):
                found = calibration.samples(each, project, family in PREDICTED)
                kept.setdefault(family, []).append(found)
        weights = calibration.fit([joined(groups) for groups in fitted.values()])
        kind = confidence.kind(project)
        assert kind is not None
        written[kind] = {
            name: round(float(weight), 4)
            for name, weight in zip(confidence.FEATURES, weights, strict=True)
        }
        everything = joined(group for groups in held.values() for group in groups)
        for family, groups in [*held.items(), ("all", [everything])]:
            every = joined(groups)
            likely = confidence.probabilities(every.features, weights)
            found = calibration.quality(likely, every.right)
            rows.append((f"{kind} {family}", *vars(found).values()))
    header = ("on other data", "n", "precision", "confidence", "ECE", "Brier", "Brier of precision")
    print(table(header, rows))
    if options.write:
        Path(options.write).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
