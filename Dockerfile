# One file for all images:
#   docker build --target classifier --tag porcelain/classifier:0.1.0 .
# Targets: classifier, classifier-gpu, generator, studio, jobs. They run as user 10001, write to /tmp
# alone, and hold no bundle: mount one at /models, or add it with bundle.Dockerfile.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

# Packages are installed here, so that no installer and no cache is in what runs.
FROM ${PYTHON} AS installer
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet --no-cache-dir uv cyclonedx-bom==7.5.0
RUN python3 -m venv --without-pip /opt/porcelain
WORKDIR /source
COPY pyproject.toml constraints.txt ./
ENV INSTALL="/opt/uv/bin/uv pip install --quiet --python /opt/porcelain --constraint constraints.txt" \
    LIST="/opt/uv/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
        --output-file /opt/porcelain/sbom.cdx.json /opt/porcelain/bin/python"

# The profile is for login shells, in which KubeRay starts Ray.
FROM ${PYTHON} AS runtime
RUN groupadd --gid 10001 porcelain \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp porcelain \
    && echo 'export PATH=/opt/porcelain/bin:$PATH' > /etc/profile.d/porcelain.sh
ENV PATH=/opt/porcelain/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BENTOML_DO_NOT_TRACK=True \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /tmp
ENTRYPOINT ["porcelain"]

# What each image has, and its bill of materials (CycloneDX): /opt/porcelain/sbom.cdx.json.
FROM installer AS classifier-installed
RUN $INSTALL --extra classifier --requirements pyproject.toml
COPY . .
RUN $INSTALL --no-deps . && $LIST

FROM installer AS classifier-gpu-installed
RUN $INSTALL --extra classifier-gpu --requirements pyproject.toml
COPY . .
RUN $INSTALL --no-deps . && $LIST

FROM installer AS generator-installed
RUN $INSTALL --extra generator --requirements pyproject.toml
COPY . .
RUN $INSTALL --no-deps . && $LIST

FROM installer AS studio-installed
RUN $INSTALL --extra studio --requirements pyproject.toml
COPY . .
RUN $INSTALL --no-deps . && $LIST

FROM installer AS jobs-installed
RUN $INSTALL --extra batch --extra cluster --extra training --extra generator --requirements pyproject.toml
COPY . .
RUN $INSTALL --no-deps . && $LIST

FROM runtime AS classifier
COPY --from=classifier-installed /opt/porcelain /opt/porcelain
ENV PORCELAIN_BUNDLE=/models/classifier
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
CMD ["serve", "classifier", "--host", "0.0.0.0", "--port", "3000"]

FROM runtime AS classifier-gpu
COPY --from=classifier-gpu-installed /opt/porcelain /opt/porcelain
ENV PORCELAIN_BUNDLE=/models/classifier \
    PORCELAIN_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
CMD ["serve", "classifier", "--host", "0.0.0.0", "--port", "3000"]

# PyPI's torch brings CUDA along, so that one image serves with and without a GPU.
FROM runtime AS generator
COPY --from=generator-installed /opt/porcelain /opt/porcelain
ENV PORCELAIN_BUNDLE=/models/generator \
    HF_HOME=/tmp/huggingface \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3001/readyz', timeout=4)"]
CMD ["serve", "generator", "--host", "0.0.0.0", "--port", "3001"]

# It runs no model: it asks the two services. Whoever reaches it uses them with its keys.
FROM runtime AS studio
COPY --from=studio-installed /opt/porcelain /opt/porcelain
USER 10001:10001
EXPOSE 3002
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:3002/readyz', timeout=4)"]
CMD ["serve", "studio", "--host", "0.0.0.0", "--port", "3002"]

FROM runtime AS jobs
COPY --from=jobs-installed /opt/porcelain /opt/porcelain
ENV HF_HOME=/tmp/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
CMD ["--help"]
