# Two images from one file:
#   docker build --target api    -t keyvid-api .      the HTTP API, the reconciler and the dispatcher: no torch
#   docker build --target worker -t keyvid-worker .   the worker and its runner, and the listener: torch, ffmpeg from a wheel
FROM python:3.12-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 KEYVID_DATA_DIR=/data
RUN useradd --create-home --uid 10001 keyvid && mkdir /data && chown keyvid /data
WORKDIR /app
COPY pyproject.toml README.md LICENSE keyvid.py ./
COPY workers ./workers

FROM base AS api
COPY service ./service
# The package is our own; the versions of what it needs are bounded in pyproject.toml.
# hadolint ignore=DL3013
RUN pip install '.[service,postgres,otel]'
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
CMD ["keyvid", "api", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS worker
COPY model ./model
COPY benchmarks ./benchmarks
# hadolint ignore=DL3013
RUN pip install '.[worker,postgres,otel]'
USER 10001
VOLUME /data
CMD ["keyvid", "worker"]
