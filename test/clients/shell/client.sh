#!/bin/sh
# Pushes with curl or wget, as test/clients/README.md has it, and as scripts do: the path is made by hand.
set -u
tool=$1 action=$2

# component NAME VALUE is a part of the path: base64 where the value is empty or has a slash, %20 for a blank, and other
# letters as they are.
component() {
	case $2 in
	'') printf '/%s@base64/=' "$1" ;;
	*/*) printf '/%s@base64/%s' "$1" "$(printf %s "$2" | base64 | tr -d '\n' | tr +/ -_)" ;;
	*) printf '/%s/%s' "$1" "$(printf %s "$2" | sed 's/%/%25/g; s/ /%20/g; s/?/%3F/g; s/#/%23/g; s/"/%22/g')" ;;
	esac
}

url=$3/metrics$(component job "$4")
shift 4
for label; do
	url=$url$(component "${label%%=*}" "${label#*=}")
done

scratch=$(mktemp -d) || exit 4
trap 'rm -rf "$scratch"' EXIT
body=$scratch/body answer=$scratch/answer error=$scratch/error
set --
case $action in
push) method=PUT ;;
add) method=POST ;;
delete) method=DELETE ;;
esac
if [ "$action" != delete ]; then
	awk '!typed[$1]++ { print "# TYPE " $1 " gauge" } { print $1 "{part=\"" $2 "\"} " $3 }' >"$body"
	case $tool in
	curl) set -- --data-binary "@$body" ;;
	wget) set -- --body-file="$body" ;;
	esac
fi

case $tool in
curl)
	status=$(curl -sS -o "$answer" -w '%{http_code}' -X "$method" "$@" "$url" 2>"$error")
	case $? in
	0) why= ;;
	3) why=unsent ;;
	*) why=unanswered ;;
	esac
	;;
wget)
	wget -nv -S -t 1 --content-on-error -O "$answer" --method="$method" "$@" "$url" 2>"$error"
	case $? in
	0 | 8) why= ;; # 8: a status that is an error
	4) why=unanswered ;;
	*) why=unsent ;;
	esac
	status=$(awk '$1 ~ /^HTTP\// { status = $2 } END { print status }' "$error")
	;;
esac

case $why/$status in
/2??) echo taken ;;
/*) echo "refused $status $(cat "$answer")" && exit 1 ;;
unanswered/*) echo "unanswered $(tr '\n' ' ' <"$error")" && exit 2 ;;
unsent/*) echo "unsent $(tr '\n' ' ' <"$error")" && exit 3 ;;
esac
