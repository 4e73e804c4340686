/** One long stream between a daemon and its supernode. */
export const SUPERNODE_PROTOCOL = '/drakkar/supernode/1';
/** One stream for each request that a supernode passes on to the one that leads: HTTP/1.1. */
export const API_PROTOCOL = '/drakkar/api/1';
/** One stream between two peers about one blob. */
export const HAVE_PROTOCOL = '/drakkar/have/1';

/** What a supernode reads of one message: of a stranger's, and of a member's, who may announce a snapshot. */
export const STRANGER_MESSAGE_BYTES = 64 * 1024;
export const MEMBER_MESSAGE_BYTES = 1024 * 1024;

/** Said in the first message. A higher one may say more; what it says beyond ours is ignored. */
export const PROTOCOL_VERSION = 1;
/** A supernode that knows what names mean. */
export const FEATURE_NAMES = 1n;
/** A supernode that keeps blobs apart by the piece tables that cut them. */
export const FEATURE_TABLES = 2n;
/** A supernode that knows snapshots, and what starts read of them. */
export const FEATURE_SNAPSHOTS = 4n;
/** A supernode that has tasks for its hosts, or a host that does them. */
export const FEATURE_TASKS = 8n;
/** A supernode that says which others there are, or a host that goes to all of them. */
export const FEATURE_REPLICAS = 16n;
/** What we can beyond that, bit by bit. */
export const FEATURES = FEATURE_NAMES | FEATURE_TABLES | FEATURE_SNAPSHOTS | FEATURE_TASKS | FEATURE_REPLICAS;
