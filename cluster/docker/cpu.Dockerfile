# syntax=docker/dockerfile:1
# Head, CPU workers and submitters. From the project's root:
#   docker build -f cluster/docker/cpu.Dockerfile -t projner:cpu .
FROM python:3.12-slim

# KubeRay's probes call wget; ps helps when a worker hangs.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget procps \
    && rm -rf /var/lib/apt/lists/*

# Torch comes first, from the index of its CPU builds: another package's range would bring CUDA along.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir "$TORCH" --index-url "$TORCH_INDEX"

WORKDIR /opt/projner
COPY pyproject.toml README.md LICENSE ./
COPY projner ./projner
RUN pip install --no-cache-dir '.[models,hub,icu,langid,cluster,s3,gcs]'
COPY jobs ./jobs

# Numbers, so that Kubernetes can tell that this is not root.
RUN useradd --uid 1000 --create-home ray
USER 1000:1000
ENV HOME=/home/ray \
    HF_HOME=/home/ray/models \
    PROJNER_CACHE=/home/ray/models/projner \
    PYTHONUNBUFFERED=1

# Names on the Hugging Face hub whose weights every node shall have before it starts, for example
#   --build-arg MODELS='facebook/nllb-200-distilled-600M google-bert/bert-base-multilingual-cased'
# Without them each node fetches what a job names, once, when the job begins.
ARG MODELS=
RUN for model in $MODELS; do hf download "$model" --exclude '*.msgpack' --exclude '*.h5' || exit 1; done

RUN projner --version && ray --version
