import { DrakkarError } from '@drakkar/errors';

/** Who a process runs as inside a container. */
export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** From the image's passwd; `/` where it names none. */
  readonly home: string;
}

const MAX_ID = 2 ** 32 - 2;

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/**
 * Resolves an image's `User` (`name`, `uid`, `name:group`, `uid:gid`, …; empty is root) by the image's own `passwd` and
 * `group`. A number needs no entry; a name does.
 * Source: OCI image-spec 1.1, config.md, `User`.
 *
 * @throws `invalid_argument` for a name that the image does not know
 */
export function resolveUser(user: string, passwd: string, group: string): ContainerUser {
  const [who = '', groupText] = user.split(':', 2);
  const users = parsePasswd(passwd);
  const groups = parseGroup(group);
  const wanted = who === '' ? '0' : who;
  const id = parseId(wanted);
  const entry = users.find((candidate) => candidate.name === wanted) ?? users.find(({ uid }) => uid === id);
  if (entry === undefined && id === undefined) {
    throw new DrakkarError('invalid_argument', `the image has no user ${JSON.stringify(wanted)}`, {
      hint: 'use a name from the image’s /etc/passwd, or a number',
    });
  }
  const base = entry ?? { name: wanted, uid: id ?? 0, gid: 0, home: '/' };
  if (groupText === undefined || groupText === '') {
    const additionalGids = groups
      .filter(({ gid, members }) => gid !== base.gid && members.includes(base.name))
      .map(({ gid }) => gid);
    return { uid: base.uid, gid: base.gid, additionalGids, home: base.home };
  }
  return { uid: base.uid, gid: resolveGroup(groupText, groups), additionalGids: [], home: base.home };
}

function resolveGroup(text: string, groups: readonly GroupEntry[]): number {
  const gid = groups.find(({ name }) => name === text)?.gid ?? parseId(text);
  if (gid === undefined) {
    throw new DrakkarError('invalid_argument', `the image has no group ${JSON.stringify(text)}`, {
      hint: 'use a name from the image’s /etc/group, or a number',
    });
  }
  return gid;
}

function parseId(text: string): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uidText = '', gidText = '', , home = ''] = line.split(':');
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    return name === '' || uid === undefined || gid === undefined
      ? []
      : [{ name, uid, gid, home: home || '/' }];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gidText = '', members = ''] = line.split(':');
    const gid = parseId(gidText);
    return name === '' || gid === undefined ? [] : [{ name, gid, members: members.split(',') }];
  });
}
