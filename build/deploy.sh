#!/usr/bin/env bash
# Writes deploy/knap.yaml and deploy/monitoring/monitoring.yaml, for kubectl apply -k, from the Helm chart with its default values. Run
# it after every change of the chart; a test compares.

source "$(dirname "$0")/prerequisites.sh"

renderer=$(tests/setup/chart-renderer.sh)
header="# Made by build/deploy.sh from the chart deploy/helm/knap. Change that instead."

# render FILE VALUE… - the chart's objects with these values.
render() {
  local file=$1
  shift
  { echo "$header" && "$renderer" knap deploy/helm/knap knap-system "$@"; } >"$file"
}

# only FILE TEMPLATE… - of what is rendered, what these templates made.
only() {
  local file=$1
  shift
  awk -v wanted="$*" '
    /^# Source: / { wants = index(" " wanted " ", " " substr($3, length("knap/templates/") + 1) " ") }
    /^---$/ { next }
    /^# Source: / && wants { print "---" }
    NR == 1 || wants' "$file" >"$file.new"
  mv "$file.new" "$file"
}

render deploy/knap.yaml
render deploy/monitoring/monitoring.yaml monitoring.serviceMonitor.enabled=true monitoring.dashboard.enabled=true
only deploy/monitoring/monitoring.yaml service-monitor.yaml dashboard.yaml
say "deploy/knap.yaml and deploy/monitoring/monitoring.yaml are written"
