# driftd in an image: docker build -t driftd .
#
# Inside a container it has to listen on every address, and for that it asks for a token:
#   docker run --read-only --tmpfs /tmp --stop-timeout 30 -v driftd-data:/data -p 127.0.0.1:6066:6066 \
#     -e DRIFTD_HTTP_HOST=0.0.0.0 -e DRIFTD_API_TOKEN=... driftd
# Instead of DRIFTD_API_TOKEN, DRIFTD_API_TOKEN_FILE names a mounted secret. `docker run driftd check-config` prints
# every setting. --stop-timeout is longer than DRIFTD_SHUTDOWN_SECONDS. Several workers: docs/deploy/README.md.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
# the dependencies first: they change less often than the code, and this layer is then taken from the cache
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/driftd \
    && /opt/driftd/bin/python -m pip install --require-hashes -r requirements.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/python -m pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
COPY detectors detectors
COPY retrain retrain
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheels \
    && /opt/driftd/bin/python -m pip install --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim
# a fixed number, so that the owner of a mounted folder can be set from outside. A new volume takes over the owner of the
# folder that it is mounted on: /archive is for DRIFTD_ARCHIVE_URL, where several workers share a volume
RUN groupadd --system --gid 10001 driftd \
    && useradd --system --uid 10001 --gid driftd --home-dir /data --no-create-home driftd \
    && install -d -o driftd -g driftd -m 0750 /data /archive
COPY --from=build /opt/driftd /opt/driftd
# HOME is the data folder: the only place that libraries can write their caches to
ENV PATH=/opt/driftd/bin:$PATH HOME=/data DRIFTD_DATA_DIR=/data
# by number: Kubernetes cannot tell whether a name is root
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 6066
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-I", "-m", "daemon", "status", "--exit-code"]
ENTRYPOINT ["python", "-I", "-m", "daemon"]
CMD ["run"]
