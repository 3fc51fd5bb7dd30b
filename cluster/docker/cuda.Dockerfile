# syntax=docker/dockerfile:1
# GPU workers. From the project's root:
#   docker build -f cluster/docker/cuda.Dockerfile -t projner:cuda .
FROM python:3.12-slim

# KubeRay's probes call wget; ps helps when a worker hangs.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget procps \
    && rm -rf /var/lib/apt/lists/*

# Torch comes first, in the version that is tested, with the CUDA libraries that it was built for; the
# driver is the machine's. CTranslate2 wants cuBLAS 12 whatever torch brings.
ARG TORCH=torch==2.13.0
RUN pip install --no-cache-dir "$TORCH" nvidia-cublas-cu12
ENV LD_LIBRARY_PATH=/usr/local/lib/python3.12/site-packages/nvidia/cublas/lib
RUN python -c 'import ctypes; ctypes.CDLL("libcublas.so.12")'

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
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# Names on the Hugging Face hub whose weights every node shall have before it starts, for example
#   --build-arg MODELS='facebook/nllb-200-distilled-600M google-bert/bert-base-multilingual-cased'
# Without them each node fetches what a job names, once, when the job begins.
ARG MODELS=
RUN for model in $MODELS; do hf download "$model" --exclude '*.msgpack' --exclude '*.h5' || exit 1; done

RUN projner --version && ray --version
