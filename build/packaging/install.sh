#!/bin/sh
# Installs or upgrades NAME on a Linux without dpkg, as root, from the folder that
# this archive was unpacked to. Its configuration and data stay as they are.
set -e
umask 022 # the service reads it as a user of its own
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }
# Each file is whole at any moment, also of a program that runs.
find usr -type f | while read -r file; do
	mkdir -p "/${file%/*}"
	cp "$file" "/$file.new"
	mv "/$file.new" "/$file"
done
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers NAME.conf
elif ! getent passwd USER >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/USER --no-create-home --shell /usr/sbin/nologin USER
fi
mkdir -p /etc/scanrelay
if [ ROLE = agent ] && [ ! -e BINARY ]; then # no update has come yet
	mkdir -p "$(dirname "$(dirname BINARY)")"
	chmod 755 "$(dirname "$(dirname BINARY)")"
	ln -sfn /usr/lib/LIB "$(dirname BINARY)"
fi
ln -sf BINARY /usr/bin/scanrelay
for link in share/man/man1/scanrelay.1.gz=scanrelay.1.gz share/bash-completion/completions/scanrelay=completion.bash \
	share/zsh/vendor-completions/_scanrelay=completion.zsh share/fish/vendor_completions.d/scanrelay.fish=completion.fish; do
	mkdir -p "/usr/$(dirname "${link%%=*}")"
	ln -sf "/usr/lib/LIB/${link#*=}" "/usr/${link%%=*}"
done
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl enable UNITS
	if [ ROLE = agent ]; then
		systemctl start scanrelay-install.path scanrelay-install.service
	fi
	[ ! -e /etc/scanrelay/ROLE.yaml ] || systemctl restart NAME.service
fi
[ -e /etc/scanrelay/ROLE.yaml ] || echo "NAME: not started yet, as there is no /etc/scanrelay/ROLE.yaml: run 'scanrelay init ROLE'"
