#!/bin/sh
# A database directory at the first start, with the password from the secret; then the server.
set -eu

if [ ! -s /data/cluster/PG_VERSION ]; then
  rm -rf /data/cluster.new
  initdb --pgdata /data/cluster.new --username mlflow --pwfile /run/secrets/database_password \
    --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 >/dev/null
  echo "host all all all scram-sha-256" >>/data/cluster.new/pg_hba.conf
  # a cluster is there whole or not at all
  mv /data/cluster.new /data/cluster
fi
exec postgres -D /data/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp
