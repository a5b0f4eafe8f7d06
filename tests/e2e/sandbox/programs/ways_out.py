"""Tries ways out of a sandbox. Prints, for each, `refused` and why, or `OUT`."""
import ctypes, fcntl, json, os, socket, struct, subprocess, sys, termios

libc = ctypes.CDLL(None, use_errno=True)
facts = json.loads(sys.argv[1])
session = int(facts["session"])
results = {}


def way(f):
    try:
        out = f()
    except (OSError, subprocess.CalledProcessError, PermissionError) as error:
        out, why = False, str(error)
    else:
        why = ""
    results[f.__name__] = "OUT" if out else f"refused {why}".strip()


def call(number, *args):
    done = libc.syscall(number, *args)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def connects(family, kind, address):
    with socket.socket(family, kind) as s:
        s.settimeout(60)
        s.connect(address)
        return True


@way
def tcp_to_the_machines_loopback():
    return connects(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", facts["tcp"]))


@way
def tcp_to_the_machines_address():
    return connects(socket.AF_INET, socket.SOCK_STREAM, (facts["address"], facts["tcp"]))


@way
def udp_to_the_machine():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.sendto(b"out", ("127.0.0.1", facts["udp"]))
        s.sendto(b"out", (facts["address"], facts["udp"]))
        # The test looks at what arrived; an answer would be one, too.
        return s.recv(10) != b""


@way
def a_raw_socket():
    return bool(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))


@way
def a_packet_socket():
    return bool(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))


@way
def a_socket_to_the_virtual_machines_host():
    return bool(socket.socket(40, socket.SOCK_STREAM))


@way
def an_abstract_socket():
    return connects(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + facts["abstract"])


@way
def a_socket_that_somebody_listens_on():
    return connects(socket.AF_UNIX, socket.SOCK_STREAM, facts["socket"])


@way
def io_uring():
    params = ctypes.create_string_buffer(120)
    return call(425, 4, params) >= 0


@way
def typing_into_the_terminal():
    # Stdin is no terminal here, so another error than this one means that the call was let through.
    try:
        fcntl.ioctl(0, termios.TIOCSTI, b"x")
    except PermissionError:
        raise
    except OSError:
        return True
    return True


@way
def the_first_network():
    fd = os.open("/proc/1/ns/net", os.O_RDONLY)
    return libc.setns(fd, 0) == 0


@way
def the_network_of_the_session():
    fd = os.open(f"/proc/{session}/ns/net", os.O_RDONLY)
    return libc.setns(fd, 0) == 0


@way
def tracing_the_session():
    return call(101, 16, session, 0, 0) >= 0


@way
def memory_of_the_session():
    return bool(open(f"/proc/{session}/mem", "rb"))


@way
def environment_of_the_session():
    return bool(open(f"/proc/{session}/environ", "rb").read(1))


@way
def files_of_the_session():
    folder = f"/proc/{session}/fd"
    return bool(os.readlink(os.path.join(folder, os.listdir(folder)[0])))


@way
def root_folder_of_the_session():
    return bool(os.listdir(f"/proc/{session}/root/"))


@way
def sockets_of_the_session():
    fd = os.pidfd_open(session)
    return call(438, fd, 3, 0) >= 0


@way
def environment_of_the_shell_outside():
    return bool(open(f"/proc/{facts['outside']}/environ", "rb").read(1))


@way
def memory_of_the_shell_outside():
    return bool(open(f"/proc/{facts['outside']}/mem", "rb"))


@way
def a_signal_to_the_session():
    os.kill(session, 0)
    return True


def covered():
    try:
        with open(facts["hidden"]) as file:
            return "sk-" not in file.read()
    except OSError:
        return True


def uncovers(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if "sk-" in done.stdout or not covered():
        return True
    raise PermissionError(done.stderr.strip() or "still covered")


@way
def unmounting():
    return uncovers("umount", facts["hidden"])


@way
def unmounting_lazily():
    return uncovers("umount", "-l", os.path.dirname(facts["hidden"]))


@way
def unmounting_in_namespaces_of_its_own():
    return uncovers("unshare", "-Urm", "sh", "-c", f"umount -l {facts['hidden']}; cat {facts['hidden']}")


@way
def binding_the_folder_elsewhere():
    folder = os.path.dirname(os.path.dirname(facts["hidden"]))
    script = f"mkdir -p /tmp/ways-$$ && mount --bind {folder} /tmp/ways-$$ && cat /tmp/ways-$$/*/*; rmdir /tmp/ways-$$"
    return uncovers("unshare", "-Urm", "sh", "-c", script)


@way
def binding_the_root_elsewhere():
    script = f"mkdir -p /tmp/ways-$$ && mount --bind / /tmp/ways-$$ && cat /tmp/ways-$$/{facts['hidden']}; umount /tmp/ways-$$; rmdir /tmp/ways-$$"
    return uncovers("unshare", "-Urm", "sh", "-c", script)


@way
def renaming_what_is_covered():
    os.rename(facts["hidden"], facts["hidden"] + ".x")
    return "sk-" in open(facts["hidden"] + ".x").read()


@way
def linking_what_is_covered():
    os.link(facts["hidden"], facts["hidden"] + ".link")
    return "sk-" in open(facts["hidden"] + ".link").read()


@way
def the_disk_itself():
    for name in os.listdir("/dev"):
        path = os.path.join("/dev", name)
        if os.stat(path).st_mode & 0o170000 == 0o060000 and open(path, "rb").read(16):
            return True
    raise PermissionError("no disk can be read")


@way
def a_program_that_the_kernel_runs():
    with open("/proc/sys/kernel/core_pattern", "r+") as file:
        now = file.read()
        file.seek(0)
        file.write(now)
    return True


@way
def another_users_powers():
    return subprocess.run(["sudo", "-n", "true"]).returncode == 0


print(json.dumps(results))
