# A web server in a few lines of Perl, which every Debian has.
use strict;
use IO::Socket::INET;

$| = 1;
$SIG{TERM} = $SIG{INT} = sub { print "asked to stop\n"; exit 0 };
$SIG{PIPE} = "IGNORE";

my $server = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 16, ReuseAddr => 1)
    or die "cannot listen on port $ENV{PORT}: $!\n";
print "listening on port $ENV{PORT}, $ENV{WHERE}\n";

while (1) {
    my $client = $server->accept or next;
    $client->timeout(5);
    my $request = <$client> // "";
    while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n$/ }
    my ($path) = $request =~ m{^GET (\S+)};
    $path //= "?";
    print "GET $path\n" unless $path eq "/healthz";
    my $body = $path eq "/healthz" ? "ok\n" : "$ENV{TITLE}: $ENV{WHERE}\n";
    print $client "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    close $client;
}
