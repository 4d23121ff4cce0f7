# The gateway with our configuration inside, so that it starts with the broker's routers and processors.
# Refuses to change anything else of the gateway's image. Another version: GECHOLOG_IMAGE, here or in the environment.
ARG GECHOLOG_IMAGE=gecholog/gecholog:latest
FROM ${GECHOLOG_IMAGE}
# Owned by the gateway's user, or its web interface could show the configuration and not publish a new one.
COPY --chown=10001:10001 gl_config.json /app/conf/gl_config.json
