# One image for every command: trailseal setup | serve | consume | up | verify | …
FROM python:3.13.14-slim-trixie AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The environment that ships has no pip; the image's own pip fills it, from hashed versions only.
RUN python -m venv --without-pip /opt/trailseal
COPY requirements-cluster.lock ./
RUN pip --python /opt/trailseal/bin/python install --no-deps --require-hashes --only-binary :all: -r requirements-cluster.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip --python /opt/trailseal/bin/python install --no-deps --no-build-isolation .

FROM python:3.13.14-slim-trixie
LABEL org.opencontainers.image.title="Trailseal" \
      org.opencontainers.image.description="An audit log that grows to a cluster and can be checked by an outsider" \
      org.opencontainers.image.licenses="Apache-2.0"
# A volume mounted on one of these folders takes over its owner, so that the root file system can stay read-only.
RUN groupadd --system --gid 10001 trailseal \
    && useradd --system --uid 10001 --gid trailseal --home-dir /var/lib/trailseal --shell /usr/sbin/nologin trailseal \
    && install -d -o trailseal -g trailseal -m 0700 /var/lib/trailseal /var/lib/trailseal-keys
COPY --from=build /opt/trailseal /opt/trailseal
ENV PATH=/opt/trailseal/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TRAILSEAL_DATA=/var/lib/trailseal
WORKDIR /var/lib/trailseal
VOLUME ["/var/lib/trailseal"]
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('TRAILSEAL_PORT', '8000')), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["trailseal"]
CMD ["--help"]
