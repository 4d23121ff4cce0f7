# The broker as one static binary on nothing else: built from Cargo.lock, run by a user without rights.
# Refuses to end with a binary that wants a loader: scratch has none and would only say "no such file or directory".

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Static glibc, not musl: since 2.34 its resolver is inside, so names of other containers resolve on scratch as well, and
# its allocator is the faster one. The target is named so that build scripts and macros, which run here, stay as they are.
# The caches keep crates and compiled dependencies between builds; our own sources are touched, because cargo goes by
# their time and a checkout may be older than the cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    set -eu; \
    host="$(rustc -vV | sed -n 's/^host: //p')"; \
    find src -name '*.rs' -exec touch {} +; \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --bin broker --target "$host"; \
    cp "target/$host/release/broker" /broker; \
    if readelf --program-headers /broker | grep -q INTERP; then echo "/broker is not static" >&2; exit 1; fi

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /broker /broker
# The same number as the gateway's: no name is needed, and none is there.
USER 10001:10001
# Probes only. They listen on loopback unless BROKER_HTTP says otherwise.
EXPOSE 5381
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/broker", "health"]
ENTRYPOINT ["/broker"]
