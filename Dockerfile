# One image a program: docker build --build-arg SERVICE=collector|predictor|scheduler .
# The simulated cluster runs from the scheduler's image: python -m scheduler.simulator serve
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG SERVICE
COPY requirements-${SERVICE}.lock /tmp/requirements.lock
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.lock \
 && cd /opt/venv/lib/python3*/site-packages \
 # Not needed at run time: the installer, the kubernetes package's asyncio twin (68 MB), the libraries' own tests (120 MB).
 && rm -rf pip* setuptools* pkg_resources kubernetes/aio \
 && find . -type d -name tests -prune -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
ARG SERVICE
ENV SERVICE=${SERVICE} \
    PATH=/opt/venv/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Named volumes mounted here take over these owners, so that the program may write without root.
RUN useradd --uid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin app \
 && install -d -o app -g app /app /app/data /cluster
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY kube kube
COPY collector collector
COPY predictor predictor
COPY scheduler scheduler
COPY config config
USER app
CMD ["sh", "-c", "exec python -m ${SERVICE}"]
