# PushQuorum in an image of its own: one static binary, nothing else. `make docker` builds the binary outside
# (into bin/image) and then this, so that building needs no base image, no registry and no network.
#
#   docker run -d -p 9091:9091 -v pushquorum:/data pushquorum
#
# There is no HEALTHCHECK: it would run a program inside the container, and an image from scratch has no shell
# and no client to run. Let the orchestrator ask /-/healthy (alive) and /-/ready (has caught up) over HTTP.
# There is no shell either: `make docker-debug` builds a variant that has one, and the usual tools (Dockerfile.debug).
FROM scratch

COPY bin/image/LICENSE /LICENSE
COPY bin/image/pushquorum /pushquorum
# /bin/pushgateway, a link to it: where the Pushgateway is in its image, for manifests that name a command.
COPY bin/image/bin/ /bin/
# An empty directory owned by the user below: a new volume takes its owner from it.
COPY --chown=65534:65534 bin/image/data/ /data/

# nobody, by number, because there is no /etc/passwd, and because Kubernetes' runAsNonRoot needs one.
USER 65534:65534
# --storage.path is ./data unless told otherwise, and so the volume, whatever arguments the container is given.
WORKDIR /
VOLUME ["/data"]

# 9091 HTTP; in a cluster also 7946, the gossip port (TCP and UDP), and 7947, the peer port (TCP).
EXPOSE 9091 7946 7946/udp 7947

ENTRYPOINT ["/pushquorum"]

# Last, because they differ from commit to commit.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="PushQuorum" \
    org.opencontainers.image.description="A drop-in, clustered, highly available Prometheus Pushgateway" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED"
