# A worker that counts. The trap lets it end at once when it is asked to.
trap 'echo "asked to stop"; exit 0' TERM INT
n=0
while :; do
  n=$((n + 1))
  echo "$NAME: round $n"
  : >/tmp/beat
  sleep 2 &
  wait $!
done
