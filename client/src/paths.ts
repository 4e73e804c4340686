/** Where a daemon's configuration is looked for. */
export const DEFAULT_CONFIG_PATH = '/etc/drakkar/config.yaml';

/** Where a supernode's is looked for. */
export const DEFAULT_SUPERNODE_CONFIG_PATH = '/etc/drakkar/supernode.yaml';

/** `stateDirectory` where the configuration names none. */
export const DEFAULT_STATE_DIRECTORY = '/var/lib/drakkar/daemon';

/** The admin socket, in the state directory. */
export const ADMIN_SOCKET_NAME = 'admin.sock';
