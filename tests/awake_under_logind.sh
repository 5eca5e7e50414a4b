# A real systemd-logind on a real D-Bus, away from this machine's own. As root:
#   unshare --mount --pid --fork --kill-child --mount-proc sh awake_under_logind.sh PYTHON SCRIPT
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd /run/user /run/udev
dbus-daemon --config-file=/usr/share/dbus-1/system.conf --nofork --nopidfile 2>/run/dbus.log &
for wait in $(seq 50); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.1; done
/lib/systemd/systemd-logind 2>/run/logind.log &
for wait in $(seq 50); do systemd-inhibit --list >/dev/null 2>&1 && break; sleep 0.1; done
systemd-inhibit --list >/dev/null 2>&1 || { cat /run/*.log; exit 77; }
exec "$@"
