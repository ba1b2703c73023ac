# Shardway in a container: one binary on a slim Debian, run by a user without rights.
#
#   docker build -t shardway .
#   docker run -v ./config:/etc/shardway:ro -p 6033:6033 shardway

FROM rust:1.95.0-slim-bookworm AS build
# The image's compiler; rust-toolchain.toml would fetch rustfmt and clippy as well.
ENV RUSTUP_TOOLCHAIN=1.95.0
# aws-lc-rs, the crypto library, is built from C.
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin shardway \
 && cp target/release/shardway /usr/local/bin/shardway

FROM debian:bookworm-slim
# The system's roots, for tls mode verify-ca and verify-identity without a bundle of their own.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin shardway
COPY --from=build /usr/local/bin/shardway /usr/local/bin/shardway
USER shardway
# Clients, operators, HTTP.
EXPOSE 6033 6032 6080
# SIGTERM drains; keep the orchestrator's grace period above limits.drain_timeout.
STOPSIGNAL SIGTERM
# The image has no HTTP client; bash opens the socket itself. Lives, not ready: a proxy whose servers are down is not ill.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6080 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3"]
ENTRYPOINT ["shardway"]
CMD ["serve", "--config", "/etc/shardway/shardway.toml"]
