# One image per process, all on the same layers: docker build --target scheduler|worker|api|migrate|sandbox .
# The base is any image with Python 3.11 or newer as `python3`, and pip.
ARG BASE_IMAGE=python:3.12-slim-bookworm

# ---- build: nothing of this stage but /opt/cuebx goes on ----
FROM ${BASE_IMAGE} AS build
# pip reads these from the environment: for a mirror, or a directory of wheels that is mounted during the build.
ARG PIP_INDEX_URL
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Without pip of their own: what runs later cannot install anything.
RUN python3 -m venv --without-pip /opt/cuebx && python3 -m venv --without-pip /opt/build
COPY requirements/runtime.txt requirements/build.txt requirements/
# Wheels alone: no compiler is needed, and no package's code runs here.
RUN python3 -m pip --python /opt/cuebx/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt \
 && python3 -m pip --python /opt/build/bin/python install --require-hashes --only-binary :all: -r requirements/build.txt
COPY . .
RUN python3 -m pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python3 -m pip --python /opt/cuebx/bin/python install --no-deps --no-index /wheels/*.whl

# ---- runtime: what all processes share ----
FROM ${BASE_IMAGE} AS runtime
# A numeric user, so that an orchestrator can tell that it is not root.
RUN groupadd --gid 10001 cuebx \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cuebx
COPY --from=build /opt/cuebx /opt/cuebx
COPY deploy/probe.py /opt/cuebx/probe.py
# Logs go to standard error alone; servers listen on the container's own interfaces.
ENV PATH=/opt/cuebx/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOG_DIR="" \
    METRICS_HOST=0.0.0.0 \
    API_HOST=0.0.0.0
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM

FROM runtime AS scheduler
EXPOSE 9100
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "/opt/cuebx/probe.py", "METRICS_PORT", "9100", "/readyz"]
ENTRYPOINT ["python", "-m", "scheduler_svc"]

FROM runtime AS worker
EXPOSE 9101
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "/opt/cuebx/probe.py", "METRICS_PORT", "9101", "/readyz"]
ENTRYPOINT ["python", "-m", "worker_svc"]

FROM runtime AS api
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "/opt/cuebx/probe.py", "API_PORT", "8000", "/readyz"]
ENTRYPOINT ["python", "-m", "api_svc"]

# Ends when the schema is there: its exit status is its health.
FROM runtime AS migrate
HEALTHCHECK NONE
ENTRYPOINT ["cuebx", "migrate"]

# The providers' sandboxes, for development: `stripe` or `brevo` and their options are the command.
FROM runtime AS sandbox
USER 0
RUN install --directory --owner=10001 --group=10001 /data
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "/opt/cuebx/probe.py", "SANDBOX_PORT", "8080", "/healthz"]
ENTRYPOINT ["python", "-m", "local_stack.sandbox"]
CMD ["--help"]
