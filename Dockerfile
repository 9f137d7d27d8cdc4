# PushQuorum in an image of its own: one static binary, nothing else. `make docker` builds the binary outside
# (into bin/image) and then this, so that building needs no base image, no registry and no network.
#
#   docker run -d -p 9091:9091 -v pushquorum:/data pushquorum
#
# There is no HEALTHCHECK: it would run a program inside the container, and an image from scratch has no shell
# and no client to run. Let the orchestrator ask /-/healthy (alive) and /-/ready (has caught up) over HTTP.
FROM scratch

COPY bin/image/LICENSE /LICENSE
COPY bin/image/pushquorum /pushquorum
# An empty directory owned by the user below: a new volume takes its owner from it.
COPY --chown=65534:65534 bin/image/data/ /data/

# nobody, by number, because there is no /etc/passwd, and because Kubernetes' runAsNonRoot needs one.
USER 65534:65534
# --storage.path is ./data unless told otherwise, and so the volume, whatever arguments the container is given.
WORKDIR /
VOLUME ["/data"]

# 9091 HTTP; 7946 gossip (both protocols) and 7947 Raft and forwarding, in a cluster only.
EXPOSE 9091 7946 7946/udp 7947

ENTRYPOINT ["/pushquorum"]
