#!/bin/bash
# Runs a command in the workspace's environment.
. /opt/cdp/tools/env.sh
exec "$@"
