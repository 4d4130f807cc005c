# Sourced: installing Debian packages, where that is possible without asking anyone for a password.

if [ "$(id -u)" = 0 ]; then
    as_root=()
else
    as_root=(sudo -n)
fi

can_apt() {
    command -v apt-get > /dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2> /dev/null; }
}

# apt_install PACKAGE...: quietly; its log is shown only when it fails.
apt_install() {
    local log
    log=$(mktemp)
    if ! {
        "${as_root[@]}" apt-get -q update &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"
    } > "$log" 2>&1 < /dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
