# The server in a small image: Node, the server's code, and PGlite for embedded mode. `compose.yaml` runs it with Postgres and Redis.
ARG NODE_IMAGE=node:24.21.0-alpine

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
# No scripts: the npm package `node` would bring a second Node. Not `npm ci`, which wants packages of every platform in the lock file.
RUN npm install --ignore-scripts --no-save --no-audit --no-fund
COPY .config ./.config
COPY schemas ./schemas
COPY src ./src
COPY layers ./layers
# Not through npm, whose PATH would begin with the `node` that was left out.
RUN node .config/build.ts --if-stale && rm dist/*.map dist/parts/*.map

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="sluice" \
  org.opencontainers.image.description="An AI inference gateway: one key, every model, one bill." \
  org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 DATA_DIR=/data
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=build /build/node_modules/@electric-sql/pglite ./node_modules/@electric-sql/pglite
COPY --from=build /build/dist ./dist
RUN mkdir -m 700 /data && chown node:node /data && ln -s /app/dist/sluice.js /usr/local/bin/sluice
USER node
VOLUME /data
EXPOSE 8080
# Ready, and not only alive: a server that waits for its database serves nobody yet.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/ready`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--max-semi-space-size=16", "/app/dist/sluice.js", "serve"]
