//! What the processes may still do once they have what they need: the least capabilities, and a filter of system calls. Neither protects from the
//! kernel's own mistakes; both make less of ours.
//!
//! What a filter refuses fails with EPERM and ends nobody: a holder that ends would let readers through.

use std::collections::BTreeMap;

use rustix::thread::{CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::error::{Code, Context, Error, Result};

/// Mounting, marking and loop devices; other users' files; owners of upper directories; id maps; looking for containers that run.
const OF_WORKER: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SYS_PTRACE);

/// All that a holder ever does once it holds: it reads events, answers them, and speaks to one worker; it makes heirs, and notices that they
/// died.
const CALLS_OF_HOLDER: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_close,
    libc::SYS_dup3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getdents64,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_wait4,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// What a worker never does, whatever the daemon asks of it: other processes' memory, the kernel's own code, the clock, the machine.
const NEVER_OF_WORKER: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mknodat,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_userfaultfd,
];

/// Before it starts any thread.
pub fn confine_worker() -> Result<()> {
    keep_capabilities(OF_WORKER)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        NEVER_OF_WORKER.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, vec![another_family()?]);
    install(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
}

/// When it has made all that needs privileges: it has none from then on.
pub fn confine_holder() -> Result<()> {
    keep_capabilities(CapabilitySet::empty())?;
    let rules = CALLS_OF_HOLDER.iter().map(|call| (*call, Vec::new())).collect();
    install(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// Of sockets there are only local ones.
fn another_family() -> Result<SeccompRule> {
    let family = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, libc::AF_UNIX as u64);
    family.and_then(|condition| SeccompRule::new(vec![condition])).map_err(refused)
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<()> {
    let architecture = std::env::consts::ARCH.try_into().map_err(refused)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, architecture).map_err(refused)?;
    let program: BpfProgram = filter.try_into().map_err(refused)?;
    seccompiler::apply_filter(&program).map_err(|cause| {
        Error::new(Code::Unsupported, format!("this kernel takes no filter of system calls: {cause}"))
    })
}

fn refused(cause: seccompiler::BackendError) -> Error {
    Error::new(Code::Internal, format!("the filter of system calls is not valid: {cause}"))
}

fn keep_capabilities(kept: CapabilitySet) -> Result<()> {
    let doing = || "giving up capabilities".to_owned();
    for capability in CapabilitySet::all().difference(kept).iter() {
        // One that this kernel does not know can't be given up, and need not be.
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => {}
            Err(errno) => return Err(errno).context(doing),
        }
    }
    let own = rustix::thread::capabilities(None).context(doing)?;
    let sets = CapabilitySets {
        effective: own.effective.intersection(kept),
        permitted: own.permitted.intersection(kept),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context(doing)
}
