//! The port of a sidecar that does not announce one: chosen or checked before each start, and kept apart from the ports of the other
//! sidecars of this process.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, TcpListener},
    num::NonZeroU16,
    sync::{Mutex, PoisonError},
};

use pillion_protocol::is_blocked_by_browsers;

use crate::{spec::Listen, sys};

/// How often the system is asked for a free port, until it names one that is neither claimed nor blocked by browsers.
const ATTEMPTS: usize = 100;

/// The ports that sidecars of this process have, with their names. The system alone cannot tell: a port is free from the end of its
/// reservation until the started program listens on it.
static CLAIMS: Mutex<BTreeMap<NonZeroU16, String>> = Mutex::new(BTreeMap::new());

/// A port that no other sidecar of this process gets until this value is dropped.
#[derive(Debug)]
pub(crate) struct PortClaim(NonZeroU16);

/// A claimed port that is bound, so that no other program can take it.
#[derive(Debug)]
pub(crate) struct PortReservation {
    claim: PortClaim,
    /// `None` if this process may not bind the port. The sidecar may be allowed to.
    bound: Option<TcpListener>,
}

impl PortClaim {
    /// `Err` with the name of the sidecar that has the port.
    fn new(port: NonZeroU16, sidecar: &str) -> Result<Self, String> {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        match claims.get(&port) {
            Some(other) => Err(other.clone()),
            None => {
                claims.insert(port, sidecar.to_owned());
                Ok(Self(port))
            }
        }
    }

    pub(crate) fn port(&self) -> NonZeroU16 {
        self.0
    }
}

impl Drop for PortClaim {
    fn drop(&mut self) {
        CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl PortReservation {
    /// Reserves the declared port for the next run of the sidecar; `None` if the sidecar announces its port. `previous` is the port of
    /// the run before. An error is a sentence. Reads `/proc` after a failure: call it off the runtime.
    pub(crate) fn new(
        listen: Listen,
        previous: Option<NonZeroU16>,
        sidecar: &str,
    ) -> Result<Option<Self>, String> {
        match listen {
            Listen::Announced => Ok(None),
            Listen::Assigned => Self::any(previous, sidecar).map(Some),
            Listen::Fixed(port) => Self::fixed(port, sidecar).map(Some),
        }
    }

    /// Ends the reservation, so that the sidecar can bind the port. The claim remains.
    pub(crate) fn release(self) -> PortClaim {
        let Self { claim, bound } = self;
        drop(bound);
        // A child that another sidecar's start has just forked may hold a copy.
        sys::finish_spawns();
        claim
    }

    pub(crate) fn port(&self) -> NonZeroU16 {
        self.claim.port()
    }

    fn any(previous: Option<NonZeroU16>, sidecar: &str) -> Result<Self, String> {
        let seldom_given = sys::seldom_given_ports().into_iter().filter_map(NonZeroU16::new);
        let candidates = previous.into_iter().chain(seldom_given);
        Self::first_free(candidates.filter(|port| !is_blocked_by_browsers(*port)), sidecar)
            .map_or_else(|| Self::given_by_the_system(sidecar), Ok)
    }

    /// Claims each port before it is bound: bound even for a moment, a port that another sidecar has just been given would be taken.
    fn first_free(mut candidates: impl Iterator<Item = NonZeroU16>, sidecar: &str) -> Option<Self> {
        candidates.find_map(|port| {
            let claim = PortClaim::new(port, sidecar).ok()?;
            Some(Self { claim, bound: Some(bind(port.get()).ok()?) })
        })
    }

    /// A port of the system's choice is bound before it can be claimed. One of another sidecar is freed at once, so that that sidecar may
    /// bind it.
    fn given_by_the_system(sidecar: &str) -> Result<Self, String> {
        for _ in 0..ATTEMPTS {
            let bound =
                bind(0).map_err(|error| format!("the system has no free port of 127.0.0.1: {error}"))?;
            let port = bound.local_addr().ok().and_then(|address| NonZeroU16::new(address.port()));
            if let Some(port) = port.filter(|port| !is_blocked_by_browsers(*port))
                && let Ok(claim) = PortClaim::new(port, sidecar)
            {
                return Ok(Self { claim, bound: Some(bound) });
            }
        }
        Err(format!(
            "the system named {ATTEMPTS} ports of 127.0.0.1, and each belongs to another sidecar or is blocked by browsers"
        ))
    }

    fn fixed(port: NonZeroU16, sidecar: &str) -> Result<Self, String> {
        let claim = PortClaim::new(port, sidecar).map_err(|other| {
            if other == sidecar {
                format!(
                    "its present run has port {port}, and a second run needs another one: restart it instead of swapping it, or \
                     declare the port \"assigned\""
                )
            } else {
                format!("the sidecar {other:?} of this program has port {port}: declare another port for one of them")
            }
        })?;
        match bind_fixed(port) {
            Ok(bound) => Ok(Self { claim, bound: Some(bound) }),
            Err(error) if may_be_bound_by_another(&error, cfg!(windows)) => Ok(Self { claim, bound: None }),
            Err(error) => Err(unbindable(port, &error, sys::listener_on(port), cfg!(windows))),
        }
    }
}

/// Whether another program has this fixed port. It is bound for a moment, to try. Returns at once.
pub(crate) fn is_taken(port: NonZeroU16, sidecar: &str) -> bool {
    // Not that of another sidecar, which may be about to bind it.
    PortClaim::new(port, sidecar)
        .is_ok_and(|_claim| bind_fixed(port).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse))
}

/// Whether the sidecar may be allowed to bind a port that this process may not: one below 1024. Windows protects none, and has other reasons
/// for this error.
fn may_be_bound_by_another(error: &io::Error, windows: bool) -> bool {
    !windows && error.kind() == io::ErrorKind::PermissionDenied
}

/// Why the sidecar cannot bind this port. `owner` is the program that listens there, if the system tells.
fn unbindable(port: NonZeroU16, error: &io::Error, owner: Option<String>, windows: bool) -> String {
    // WSAEACCES: https://learn.microsoft.com/en-us/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse
    let refused = windows && error.kind() == io::ErrorKind::PermissionDenied;
    match (error.kind(), owner) {
        (io::ErrorKind::PermissionDenied, None) if refused => format!(
            "Windows refuses port {port} of 127.0.0.1: another program holds it for itself (`netstat -ano | findstr :{port}` shows \
             which), or it is reserved (`netsh interface ipv4 show excludedportrange protocol=tcp` lists those ports). Stop that \
             program, or declare another port"
        ),
        (kind, owner) if refused || kind == io::ErrorKind::AddrInUse => {
            let owner = owner.unwrap_or_else(|| "another program".to_owned());
            format!(
                "port {port} of 127.0.0.1 is taken by {owner}: stop that program, or declare another port"
            )
        }
        _ => format!("port {port} of 127.0.0.1 cannot be bound: {error}"),
    }
}

fn bind_fixed(port: NonZeroU16) -> io::Result<TcpListener> {
    // Windows lets a port of one address be bound beside a socket for all addresses:
    // https://learn.microsoft.com/en-us/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse
    #[cfg(windows)]
    if sys::is_listened_on(port) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    bind(port.get())
}

/// Binds a port of 127.0.0.1, even if connections of an earlier server still linger on it (Unix, `SO_REUSEADDR`).
fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(sys::keep_from_starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(previous: Option<NonZeroU16>, sidecar: &str) -> PortReservation {
        PortReservation::new(Listen::Assigned, previous, sidecar).unwrap().unwrap()
    }

    #[test]
    fn a_reserved_port_is_bound_and_a_released_one_is_free_for_the_sidecar_alone() {
        let reserved = assigned(None, "api");
        let port = reserved.port();
        assert_eq!(bind(port.get()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let claim = reserved.release();
        drop(bind(port.get()).unwrap());
        assert_ne!(assigned(Some(port), "db").port(), port, "the port of another sidecar");
        drop(claim);
        assert_eq!(assigned(Some(port), "api").port(), port, "the port of the run before");
    }

    #[test]
    fn a_port_is_taken_by_another_program_alone() {
        let claim = assigned(None, "api").release();
        let port = claim.port();
        let other_program = bind(port.get()).unwrap();
        assert!(!is_taken(port, "db"), "of another sidecar");
        drop(claim);
        assert!(is_taken(port, "db"));
        drop(other_program);
        assert!(!is_taken(port, "db"));
    }

    /// A start copies the descriptors below this number for a moment, in which a released port would still be taken.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn a_reserved_port_has_a_descriptor_that_no_start_copies() {
        use std::os::fd::AsRawFd as _;

        let reserved = assigned(None, "kept");
        assert!(reserved.bound.as_ref().unwrap().as_raw_fd() >= 512);
    }

    #[test]
    fn a_taken_previous_port_is_replaced() {
        let taken = bind(0).unwrap();
        let port = NonZeroU16::new(taken.local_addr().unwrap().port()).unwrap();
        assert_ne!(assigned(Some(port), "api").port(), port);
    }

    /// A port that was bound before its claim was looked up was taken when its sidecar came to listen on it.
    #[test]
    fn the_search_for_a_port_never_binds_that_of_another_sidecar() {
        let claim = assigned(None, "api").release();
        let port = claim.port();
        std::thread::scope(|scope| {
            let search = scope.spawn(|| {
                (0..10_000).all(|_| PortReservation::first_free(std::iter::once(port), "db").is_none())
            });
            while !search.is_finished() {
                drop(bind(port.get()).unwrap());
            }
            assert!(search.join().unwrap(), "the port of another sidecar");
        });
    }

    #[test]
    fn no_two_sidecars_get_the_same_port() {
        let claims: Vec<_> = (0..200).map(|_| assigned(None, "many").release()).collect();
        let ports: std::collections::HashSet<_> = claims.iter().map(PortClaim::port).collect();
        assert_eq!(ports.len(), claims.len());
    }

    /// The kernel began with some 7,000 ports for both.
    #[cfg(target_os = "linux")]
    #[test]
    fn other_programs_that_ask_for_any_port_get_none_that_a_sidecar_may_not_have_bound_yet() {
        let claims: Vec<_> = (0..100).map(|_| assigned(None, "many").release()).collect();
        let others: Vec<_> = (0..500).map(|_| bind(0).unwrap().local_addr().unwrap().port()).collect();
        let taken: Vec<_> = claims.iter().filter(|claim| others.contains(&claim.port().get())).collect();
        assert!(taken.is_empty(), "{taken:?}");
    }

    #[test]
    fn a_fixed_port_belongs_to_one_sidecar() {
        let port = assigned(None, "free").port();
        let fixed = |sidecar| PortReservation::new(Listen::Fixed(port), None, sidecar).map(Option::unwrap);
        let first = fixed("api").unwrap().release();
        assert!(fixed("db").unwrap_err().contains("the sidecar \"api\" of this program has port"));
        assert!(fixed("api").unwrap_err().contains("restart it instead of swapping it"));
        drop(first);
        drop(fixed("db").unwrap());
        let _taken = bind(port.get()).unwrap();
        let error = fixed("api").unwrap_err();
        // Wine does not tell the owner.
        let owner = if cfg!(windows) { String::new() } else { format!("process {}:", std::process::id()) };
        assert!(
            error.contains(&format!("port {port} of 127.0.0.1 is taken by")) && error.contains(&owner),
            "{error}"
        );
    }

    /// Windows lets 127.0.0.1 be bound beside it, and the other program then answers until the sidecar does.
    #[cfg(not(target_os = "macos"))]
    #[test]
    fn a_fixed_port_that_another_program_has_on_all_addresses_is_taken() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = NonZeroU16::new(taken.local_addr().unwrap().port()).unwrap();
        let error = PortReservation::new(Listen::Fixed(port), None, "all").unwrap_err();
        assert!(error.contains(&format!("port {port} of 127.0.0.1 is taken by")), "{error}");
    }

    #[test]
    fn windows_refuses_a_port_that_another_program_holds_for_itself() {
        let port = NonZeroU16::new(8080).unwrap();
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(may_be_bound_by_another(&refused, false), "a port below 1024");
        assert!(!may_be_bound_by_another(&refused, true));
        let said = unbindable(port, &refused, None, true);
        assert!(said.contains("another program holds it") && said.contains("excludedportrange"), "{said}");
        let said = unbindable(port, &refused, Some("nginx.exe, process 4711".to_owned()), true);
        assert!(said.contains("is taken by nginx.exe, process 4711: "), "{said}");
    }
}
