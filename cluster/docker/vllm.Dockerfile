# syntax=docker/dockerfile:1
# GPU workers for jobs with an engine vllm: the image projner:cuda, and an environment with vLLM that such
# sections of a job name: `environment: /opt/vllm/bin/python`. From the project's root:
#   docker build -f cluster/docker/vllm.Dockerfile -t projner:vllm .
ARG BASE=projner:cuda
FROM $BASE

USER 0:0
# Kernels are compiled when a model is loaded.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# It brings its own torch and transformers; Ray and pyarrow must be those of the job.
ARG VLLM=vllm==0.32.0
WORKDIR /opt/projner
RUN python -m venv /opt/vllm \
    && pip freeze | grep -E '^(ray|pyarrow)==' > /opt/vllm/same.txt \
    && /opt/vllm/bin/pip install --no-cache-dir --constraint /opt/vllm/same.txt "$VLLM" '.[langid,hub,s3,gcs]'

USER 1000:1000
RUN python -c 'from projner import environments; environments.check("/opt/vllm/bin/python", ["vllm"])'
