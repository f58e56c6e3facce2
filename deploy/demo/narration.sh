# Sourced by the scene: how a step, a command, its outcome and an expectation look.
# shellcheck shell=bash

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' cyan=$'\e[36m' plain=$'\e[0m'
else
  bold='' dim='' red='' green='' cyan='' plain=''
fi

steps=0 expectations=0
# shellcheck disable=SC2034 # the scene reads it
began=$EPOCHREALTIME

# milliseconds SINCE - since then, an earlier EPOCHREALTIME.
milliseconds() {
  local now=$EPOCHREALTIME
  echo $((${now/[.,]/} / 1000 - ${1/[.,]/} / 1000))
}

step() {
  steps=$((steps + 1))
  printf '\n%s%d  %s%s\n' "$bold$cyan" "$steps" "$1" "$plain"
  shift
  ((!$#)) || printf '   %s%s%s\n' "$dim" "$@" "$plain"
}

# shell WORDS - the command that follows, as a person would type it.
shell() { printf '   %s$%s %s\n' "$dim" "$plain" "$*"; }

# fact NAME VALUE
fact() { printf '     %-10s %s\n' "$1" "$2"; }

# expect WHAT COMMAND… - the command must succeed.
expect() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    expectations=$((expectations + 1))
    printf '   %s✓%s %s\n' "$green" "$plain" "$what"
  else
    printf '   %s✗ %s%s\n' "$red$bold" "$what" "$plain"
    printf '     %s: %s\n' "$*" "$output"
    return 1
  fi
}

# refute WHAT COMMAND… - the command must fail.
refute() {
  local what=$1
  shift
  expect "$what" fails "$@"
}

fails() { ! "$@"; }
