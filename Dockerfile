# The app in a container, for processors: docker build -t embeddings-webui .
# For NVIDIA GPUs, with the CUDA of a build of torch: docker build --build-arg TORCH=cu130 …
FROM python:3.12-slim

ARG TORCH=cpu
RUN pip install --no-cache-dir uv

WORKDIR /build
COPY requirements.txt .
RUN uv pip install --system --no-cache --torch-backend=${TORCH} -r requirements.txt
COPY . .
RUN uv pip install --system --no-cache --no-deps . && rm -rf /build

# Embeddings, models and images lie in a volume that any user may write to; nothing runs as root.
RUN mkdir /data && chmod 1777 /data
ENV XDG_DATA_HOME=/data HOME=/data USER=webui PYTHONUNBUFFERED=1
WORKDIR /data
VOLUME /data
USER 1000:1000

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m CMD ["python", "-c", \
  "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=4)"]
ENTRYPOINT ["embeddings-webui", "--host", "0.0.0.0"]
CMD ["--no-auth"]
