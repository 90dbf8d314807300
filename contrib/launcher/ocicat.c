/*
 * bin/ocicat: asks a resident answerer (`ocicat answer`), and in every other case becomes the Python program ocicat-plain.
 *
 * The answer must be the one that the program would give, so this file interprets no name and reads no catalog. Anything that is not
 * clearly a question for the answerer of this user's catalog, and any failure before the whole answer has arrived, ends in plain().
 * The other half of the protocol is catalog/cli/answerer/protocol.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef VERSION
#error "the version of ocicat, as a string: -DVERSION='\"1.2.3\"'"
#endif

#define PROTOCOL "ocicat-answer 1"
#define PLAIN "ocicat-plain"
#define MILLISECONDS 100              /* from the start until the whole answer has arrived */
#define REQUEST_BYTES (64 << 10)
#define REPLY_BYTES ((1 << 20) + 4096)
#define FAILED 4                      /* the exit status of an OcicatError */
#define UNREAD 141                    /* nothing reads stdout any more */
#define SYSTEM_CATALOG "/var/lib/ocicat/catalog.db"
#define SYSTEM_SOCKET "/run/ocicat/answer"
#define BESIDE ".answer"

static char **arguments;
static char request[4 + REQUEST_BYTES];
static size_t used = 4;
static char reply[REPLY_BYTES];

/* --- the program itself ------------------------------------------------------------------------------------------------ */

/* Become the Python program beside the file at `path`. Returns if there is none. */
static void become(const char *path)
{
	char script[PATH_MAX], python[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int length = slash ? (int)(slash - path) : 1;
	const char *place = slash ? path : ".";
	int count = 0;
	char **words;

	if (snprintf(script, sizeof script, "%.*s/" PLAIN, length, place) >= (int)sizeof script)
		return;
	arguments[0] = script;
	execv(script, arguments);
	/* The script's first line names an interpreter that no longer exists, because the venv was moved. */
	while (arguments[count])
		count++;
	words = malloc((count + 2) * sizeof *words);
	if (!words || access(script, R_OK))
		return;
	memcpy(words + 1, arguments, (count + 1) * sizeof *words);
	words[0] = python;
	if (snprintf(python, sizeof python, "%.*s/python3", length, place) < (int)sizeof python)
		execv(python, words);
	free(words);
}

static _Noreturn void plain(void)
{
	char self[PATH_MAX];
	const char *given = (const char *)getauxval(AT_EXECFN);
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	static const char lost[] = "ocicat: error: cannot run " PLAIN " beside this program: install ocicat again\n";

	if (length > 0) {
		self[length] = 0;
		become(self);
	}
	if (given)
		become(given);
	if (write(2, lost, sizeof lost - 1) < 0)
		_exit(FAILED);
	_exit(FAILED);
}

/* --- the catalog, as catalog/engine/location.py finds it ---------------------------------------------------------------- */

/* Make `given` absolute. Call plain() for a path that also has to be normalised, such as one with `..` or `//`. */
static void absolute(const char *given, char path[PATH_MAX])
{
	char here[PATH_MAX] = "";
	const char *part = given;

	if (*given != '/') {
		if (!getcwd(here, sizeof here) || here[0] != '/')
			plain();
		if (!strncmp(part, "./", 2))
			part += 2;
	}
	if (!*part || part[strlen(part) - 1] == '/')
		plain();
	if (snprintf(path, PATH_MAX, "%s%s%s", here[1] ? here : "", *part == '/' ? "" : "/", part) >= PATH_MAX)
		plain();
	if (!strncmp(path, "//", 2))
		plain();
	for (part = path; part; part = strchr(part + 1, '/'))
		if (!strncmp(part, "//", 2) || !strncmp(part, "/./", 3) || !strncmp(part, "/../", 4) || !strcmp(part, "/.") ||
		    !strcmp(part, "/.."))
			plain();
}

/* Find the path or URL of the catalog, given the value of --db or NULL; return whether it is a path. */
static int find_catalog(const char *given, char path[PATH_MAX])
{
	struct stat found;
	const char *value;

	if (!given || !*given)
		given = getenv("OCICAT_DB");
	if (given && strstr(given, "://")) {
		if (snprintf(path, PATH_MAX, "%s", given) >= PATH_MAX)
			plain();
		return 0;
	}
	if (given && *given)
		absolute(given, path);
	else if ((value = getenv("STATE_DIRECTORY")) && *value && *value != ':') {
		char state[PATH_MAX];
		int length = (int)strcspn(value, ":");

		if (snprintf(state, sizeof state, "%.*s/catalog.db", length, value) >= (int)sizeof state)
			plain();
		absolute(state, path);
	} else {
		if ((value = getenv("XDG_DATA_HOME")) && *value == '/') {
			char data[PATH_MAX];

			if (snprintf(data, sizeof data, "%s/ocicat/catalog.db", value) >= (int)sizeof data)
				plain();
			absolute(data, path);
		} else {
			char home[PATH_MAX];

			value = getenv("HOME");
			if (!value || *value != '/' ||
			    snprintf(home, sizeof home, "%s/.local/share/ocicat/catalog.db", value) >= (int)sizeof home)
				plain();
			absolute(home, path);
			if (stat(path, &found) && !access(SYSTEM_CATALOG, R_OK))
				strcpy(path, SYSTEM_CATALOG);
		}
	}
	if (!lstat(path, &found) && S_ISLNK(found.st_mode)) {
		char *real = realpath(path, NULL);

		if (!real || strlen(real) >= PATH_MAX)
			plain();
		strcpy(path, real);
		free(real);
	}
	return 1;
}

/* --- the question -------------------------------------------------------------------------------------------------------- */

static void add(const char *text)
{
	size_t length = strlen(text) + 1;

	if (length > sizeof request - used)
		plain();
	memcpy(request + used, text, length);
	used += length;
}

static void add_file(const struct stat *found)
{
	char text[64];

	snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)found->st_dev, (unsigned long long)found->st_ino);
	add(text);
}

static int is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(word, *list))
			return 1;
	return 0;
}

/* Collect the words of the command line except --db and its value. Return that value, or NULL if there is none. */
static const char *collect(char **words, int *count)
{
	static const char *const served[] = {"resolve", "query", "history", "status", "find", "inspect", NULL};
	static const char *const flags[] = {"-q", "--quiet", "-v", "--verbose", "--first", "--strict", "--count", "--check",
					    "--json", NULL};
	const char *database = NULL;
	int is_command = 0, at;

	*count = 0;
	if (arguments[1] && !strcmp(arguments[1], "__complete")) {
		for (at = 1; arguments[at]; at++)
			words[(*count)++] = arguments[at];
		return NULL;
	}
	for (at = 1; arguments[at]; at++) {
		char *word = arguments[at];
		int is_value = at > 1 && arguments[at - 1][0] == '-' && !is_one_of(arguments[at - 1], flags) &&
			       strncmp(arguments[at - 1], "--db", 4);

		if (!strcmp(word, "-") || !strcmp(word, "--"))
			plain(); /* `-` reads stdin */
		if (!strcmp(word, "--db") || !strncmp(word, "--db=", 5)) {
			database = word[4] ? word + 5 : arguments[++at];
			if (is_value || !database || !*database || *database == '-')
				plain();
			continue;
		}
		if (!is_command && !is_one_of(word, flags)) {
			if (!is_one_of(word, served))
				plain();
			is_command = 1;
		}
		words[(*count)++] = word;
	}
	if (!is_command)
		plain();
	return database;
}

static void add_variables(void)
{
	static const char *const begin[] = {"OCICAT_", "LC_", "PG", "XDG_", NULL};
	static const char *const names[] = {"HOME", "NO_COLOR", "TZ", "TZDIR", "COLUMNS", "LINES", "LANG", "LANGUAGE", "TERM",
					    "STATE_DIRECTORY", NULL};
	char **variable;

	for (variable = environ; *variable; variable++) {
		const char *const *each;
		const char *equals = strchr(*variable, '=');
		size_t length = equals ? (size_t)(equals - *variable) : 0;
		int is_wanted = 0;

		for (each = begin; *each && length; each++)
			is_wanted |= !strncmp(*variable, *each, strlen(*each));
		for (each = names; *each && length; each++)
			is_wanted |= strlen(*each) == length && !strncmp(*variable, *each, length);
		if (is_wanted)
			add(*variable);
	}
}

/* --- the answer ---------------------------------------------------------------------------------------------------------- */

static int milliseconds_left(const struct timespec *began)
{
	struct timespec now;
	long passed;

	clock_gettime(CLOCK_MONOTONIC, &now);
	passed = (now.tv_sec - began->tv_sec) * 1000 + (now.tv_nsec - began->tv_nsec) / 1000000;
	return passed < MILLISECONDS ? (int)(MILLISECONDS - passed) : 0;
}

/* Return a connection to the answerer at `path`, if it runs for this user, for the owner of the catalog, or for root; else -1. */
static int connect_to(const char *path, const struct stat *catalog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t size = sizeof peer;
	int connection;

	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	strcpy(address.sun_path, path);
	connection = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connection < 0)
		return -1;
	/* A UNIX socket connects immediately, unless its backlog is full. */
	if (!connect(connection, (struct sockaddr *)&address, sizeof address) &&
	    !getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) &&
	    (peer.uid == geteuid() || peer.uid == 0 || (catalog && peer.uid == catalog->st_uid)))
		return connection;
	close(connection);
	return -1;
}

/* Send the request and receive the whole reply within the time limit; return its length, or 0 if that fails. */
static size_t ask(int connection, const struct timespec *began)
{
	struct pollfd waiting = {.fd = connection};
	uint32_t length = (uint32_t)(used - 4);
	size_t sent = 0, received = 0;

	memcpy(request, &length, sizeof length);
	while (sent < used || received < 4 || received < 4 + (size_t)length) {
		ssize_t moved;

		waiting.events = sent < used ? POLLOUT : POLLIN;
		moved = sent < used ? send(connection, request + sent, used - sent, MSG_NOSIGNAL)
				    : recv(connection, reply + received, sizeof reply - received, 0);
		if (moved < 0 && (errno == EAGAIN || errno == EINTR)) {
			int left = milliseconds_left(began);

			if (!left || (poll(&waiting, 1, left) < 0 && errno != EINTR))
				return 0;
			continue;
		}
		if (moved <= 0)
			return 0;
		if (sent < used) {
			sent += (size_t)moved;
			continue;
		}
		received += (size_t)moved;
		if (received >= 4) {
			memcpy(&length, reply, sizeof length);
			if (length < 2 || length > sizeof reply - 4)
				return 0;
		}
	}
	return received == 4 + (size_t)length ? received : 0;
}

/* Write all of `data`, and add the bytes written to `printed`. Return 0, or errno. */
static int print(int descriptor, const char *data, size_t length, size_t *printed)
{
	while (length) {
		ssize_t written = write(descriptor, data, length);

		if (written < 0 && errno == EAGAIN) {
			struct pollfd waiting = {.fd = descriptor, .events = POLLOUT};

			poll(&waiting, 1, -1);
			continue;
		}
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno;
		*printed += (size_t)written;
		data += written;
		length -= (size_t)written;
	}
	return 0;
}

/* Return whether the output may be longer than the screen of an interactive user: the program then starts a pager. */
static int may_be_paged(size_t length)
{
	struct winsize size;
	size_t at, lines = 2;
	uint32_t piece;

	if (!isatty(0) || !isatty(1))
		return 0;
	if (ioctl(1, TIOCGWINSZ, &size) || !size.ws_col)
		return 1;
	for (at = 6; at < length; at += 5 + piece) {
		const char *from = reply + at + 5, *line;

		memcpy(&piece, reply + at + 1, sizeof piece);
		if (reply[at] != 1)
			continue;
		lines += piece / size.ws_col;
		for (line = from; (line = memchr(line, '\n', (size_t)(from + piece - line))); line++)
			lines++;
	}
	return lines > size.ws_row;
}

/* Print the pieces of a reply of `length` bytes and exit. Return, with nothing printed, if it is not an answer or needs a pager. */
static void print_reply(size_t length)
{
	size_t at, printed = 0;
	uint32_t piece;
	void (*before)(int);

	if (reply[4] != 0)
		return;
	for (at = 6; at < length; at += 5 + piece) {
		if (length - at < 5)
			return;
		memcpy(&piece, reply + at + 1, sizeof piece);
		if ((reply[at] != 1 && reply[at] != 2) || piece > length - at - 5)
			return;
	}
	if (may_be_paged(length))
		return;
	before = signal(SIGPIPE, SIG_IGN);
	for (at = 6; at < length; at += 5 + piece) {
		int error;

		memcpy(&piece, reply + at + 1, sizeof piece);
		error = print(reply[at], reply + at + 5, piece, &printed);
		if (!error || reply[at] == 2)
			continue; /* nothing reads stderr: the exit status still shows the result */
		if (error == EPIPE)
			_exit(UNREAD);
		signal(SIGPIPE, before);
		if (!printed)
			return; /* the program reports what is wrong with stdout */
		dprintf(2, "ocicat: error: cannot write the output (%s), so it is incomplete\n", strerror(error));
		_exit(FAILED);
	}
	_exit((unsigned char)reply[5]);
}

int main(int count, char **words)
{
	struct timespec began;
	struct stat catalog, here;
	struct winsize size;
	char path[PATH_MAX], place[PATH_MAX], text[32];
	const char *database, *asked = getenv("OCICAT_SOCKET");
	char **chosen;
	int connection = -1, is_file, number;
	size_t length;

	arguments = words;
	clock_gettime(CLOCK_MONOTONIC, &began);
	if (count < 2 || (asked && !*asked))
		plain();
	for (number = 0; number < 3; number++)
		if (fcntl(number, F_GETFD) < 0)
			plain(); /* a socket would get the number of the closed descriptor */
	chosen = malloc((size_t)count * sizeof *chosen);
	if (!chosen)
		plain();
	database = collect(chosen, &number);
	is_file = find_catalog(database, path);
	if (is_file && (stat(path, &catalog) || !S_ISREG(catalog.st_mode) || access(path, R_OK)))
		plain();
	if (asked)
		connection = connect_to(asked, is_file ? &catalog : NULL);
	else if (is_file) {
		if (snprintf(place, sizeof place, "%s" BESIDE, path) < (int)sizeof place)
			connection = connect_to(place, &catalog);
		if (connection < 0 && !strcmp(path, SYSTEM_CATALOG))
			connection = connect_to(SYSTEM_SOCKET, &catalog);
	}
	if (connection < 0)
		plain();

	add(PROTOCOL);
	add(VERSION);
	text[0] = 0;
	if (isatty(1))
		strcat(text, "1");
	if (isatty(2))
		strcat(text, "2");
	add(text);
	snprintf(text, sizeof text, "%u", text[0] && !ioctl(text[0] - '0', TIOCGWINSZ, &size) ? size.ws_col : 0);
	add(text);
	add(path);
	if (!is_file)
		memset(&catalog, 0, sizeof catalog);
	add_file(&catalog);
	if (!getcwd(place, sizeof place) || place[0] != '/' || stat(".", &here))
		plain();
	add(place);
	add_file(&here);
	length = (size_t)readlink("/proc/self/ns/mnt", place, sizeof place - 1);
	place[length < sizeof place ? length : 0] = 0;
	add(place);
	snprintf(text, sizeof text, "%d", number);
	add(text);
	for (count = 0; count < number; count++)
		add(chosen[count]);
	add_variables();

	length = ask(connection, &began);
	if (length)
		print_reply(length);
	plain();
}
