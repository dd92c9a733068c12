#!/bin/sh
# Every outside program in the tests of the installer. It writes down how it was called, does what the real one would leave behind, and fails or kills its
# caller where a test asks for it: FAIL_AT and KILL_AT are a part of the call, FAIL_ONCE_AT fails the first time.
name=${0##*/}
line="$name $*"
echo "$line" >> "$STAND/calls"
fail() { echo "stand-in: $1" >&2; exit 1; }
if [ -n "$FAIL_AT" ]; then
  case $line in "multikf "*"$FAIL_AT"*) fail "asked to fail: $line" ;; *"$FAIL_AT"*) fail "asked to fail" ;; esac
fi
if [ -n "$FAIL_ONCE_AT" ] && [ ! -e "$STAND/failed" ]; then
  case $line in *"$FAIL_ONCE_AT"*) touch "$STAND/failed"; fail 'no matches for kind "Certificate"' ;; esac
fi
after() {
  if [ -n "$KILL_AT" ]; then case $line in *"$KILL_AT"*) kill -9 "$PPID"; exit 1 ;; esac; fi
}
case $line in
  "docker info "*)
    [ ! -e "$STAND/docker-hangs" ] || exec sleep 60
    [ -e "$STAND/docker.err" ] && cat "$STAND/docker.err" >&2
    cat "$STAND/docker.json" ;;
  "docker image inspect kindest/"*) [ -e "$STAND/node-image" ] || exit 1 ;;
  "docker image inspect "*) [ ! -e "$STAND/no-image" ] || exit 1 ;;
  "docker exec "*) shift 3; "$@"; after; exit ;;
  "sysctl -n "*) if [ -e "$STAND/sysctl" ]; then cat "$STAND/sysctl"; else echo 9999999; fi ;;
  "sysctl "*) echo 9999999 > "$STAND/sysctl" ;;
  "sudo "*) "$@" ;;
  "kind get clusters") [ -e "$STAND/clusters" ] && cat "$STAND/clusters" ;;
  "kind create cluster "*) echo "$4" >> "$STAND/clusters"; echo made > "$8" ;;
  "kind delete cluster "* | "multikf delete "*)
    gone=$2; [ "$name" = kind ] && gone=$4
    if [ -e "$STAND/clusters" ]; then
      grep -vx -e "$gone" "$STAND/clusters" > "$STAND/left"; mv "$STAND/left" "$STAND/clusters"
    fi ;;
  "multikf add "*) echo "$2" >> "$STAND/clusters" ;;
  "kind export kubeconfig --name "*" --kubeconfig "*) echo exported > "$6" ;;
  "kustomize build "*) echo "# built from $2"; cat "$2/kustomization.yaml" ;;
  "kubectl "*" apply "*) cat >> "$STAND/applied" ;;
  "kubectl "*" get deployments,jobs "*) cat "$STAND/objects.json" ;;
  "kubectl "*" port-forward "*)
    echo "Forwarding from 127.0.0.1"; after
    connection=0
    while [ "$connection" -lt "${CONNECTIONS:-0}" ]; do
      echo "Handling connection for 8080"; connection=$((connection + 1))
    done
    touch "$STAND/handled-$$"
    exec sleep 60 ;;
esac
after
exit 0
