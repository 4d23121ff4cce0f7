# The broker as one static binary on nothing else: built from Cargo.lock, run by a user without rights.
# Refuses to end with a binary that wants a loader: scratch has none and would only say "no such file or directory".

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# The dependencies in a layer of their own, which lasts until a manifest or the lock file changes: compiled for an empty
# library, since the files of the targets that the manifests name are not here yet. Plain layers rather than cache
# mounts, so that every builder can do it, also one without BuildKit.
COPY Cargo.toml Cargo.lock ./
COPY crates/types/Cargo.toml crates/types/
COPY crates/balancer/Cargo.toml crates/balancer/
COPY crates/gecholog-protocol/Cargo.toml crates/gecholog-protocol/
COPY crates/llm/Cargo.toml crates/llm/
COPY crates/gateway-sim/Cargo.toml crates/gateway-sim/
RUN sed -i '/^\[\[/,/^$/d' Cargo.toml crates/*/Cargo.toml \
 && for crate in . crates/*; do mkdir "$crate/src" && touch "$crate/src/lib.rs"; done \
 && cargo build --locked --release --lib

# Static glibc, not musl: since 2.34 its resolver is inside, so the names of other containers resolve on scratch as well,
# and its allocator is the faster one. Sources are touched, as cargo goes by their time and a checkout may be older than
# the empty library.
COPY . .
RUN find src crates -name '*.rs' -exec touch {} + \
 && cargo rustc --locked --release --bin broker -- -C target-feature=+crt-static \
 && if readelf --program-headers target/release/broker | grep -q INTERP; then echo "the broker is not static" >&2; exit 1; fi

# Where a volume for BROKER_CALLS can be mounted: a new one gets the owner of this folder.
RUN mkdir /calls

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/broker /broker
COPY --from=build --chown=10001:10001 /calls /calls
# The same number as the gateway's: no name is needed, and none is there.
USER 10001:10001
# Probes, metrics and the page, on every address of the container, or -p could not reach them: loopback is the container's own.
# Publish the port on this machine only: docker run -p 127.0.0.1:5381:5381. 5390 is the relay's, once BROKER_RELAY says so.
ENV BROKER_HTTP=0.0.0.0:5381
EXPOSE 5381 5390
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/broker", "health"]
ENTRYPOINT ["/broker"]
