import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Child, startChild, untilReady } from '../child.ts';
import { freePort } from '../ports.ts';
import { temporaryDirectory } from '../temporary.ts';
import { Authority, type Certificate, contentsOf, makeTokenKey } from './certificates.ts';
import { startEtcd } from './etcd.ts';
import { buildKubernetes } from './programs.ts';

const run = promisify(execFile);

export interface ControlPlaneOptions {
  /** Those of kube-controller-manager that run; none, and not that program either, where absent. */
  readonly controllers?: readonly string[];
  readonly scheduler?: boolean;
}

/** A program that can be ended and started again. */
export interface Restartable {
  /** SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP: connections stay, and nothing is answered. */
  pause(isPaused: boolean): void;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** A real control plane: etcd, kube-apiserver, and where they are asked for kube-controller-manager and kube-scheduler. It has no nodes. */
export interface ControlPlane extends AsyncDisposable {
  readonly url: string;
  /** Of `system:masters`. */
  readonly kubeconfig: string;
  readonly apiServer: Restartable;
  /** @returns the path of a file with which a client is this user */
  kubeconfigOf(user: string, groups?: readonly string[]): Promise<string>;
  /** @returns what it has printed @throws where it fails, with what it says */
  kubectl(
    args: readonly string[],
    options?: { readonly input?: string; readonly kubeconfig?: string },
  ): Promise<string>;
  /** As an administrator. */
  ask(method: string, path: string, body?: unknown, contentType?: string): Promise<Answer>;
  /** Nobody can go on from a moment before now. */
  compact(): Promise<void>;
}

const HOST = '127.0.0.1';
const READY_MS = 90_000;
const OUTPUT_BYTES = 64 * 1024 * 1024;

export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const programs = await buildKubernetes();
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(await temporaryDirectory('kubernetes'));
  const [etcd, authority, tokenKey, port] = await Promise.all([
    startEtcd(join(directory, 'etcd')),
    Authority.make(directory),
    makeTokenKey(directory),
    freePort(),
  ]);
  stack.use(etcd);
  const server = await authority.issue('server', {
    subject: '/CN=kube-apiserver',
    names: [`IP:${HOST}`, 'DNS:localhost', 'IP:10.0.0.1'],
  });
  const url = `https://${HOST}:${port}`;
  const files = new Map<string, Promise<string>>();
  const kubeconfigOf = (user: string, groups: readonly string[] = []) => {
    const subject = `${groups.map((group) => `/O=${group}`).join('')}/CN=${user}`;
    const known =
      files.get(subject) ?? writeKubeconfig(directory, `client-${files.size}`, { url, authority, subject });
    files.set(subject, known);
    return known;
  };
  const kubeconfig = await kubeconfigOf('administrator', ['system:masters']);
  const agent = new Agent({ keepAlive: true });
  stack.defer(async () => agent.destroy());
  const admin = {
    agent,
    ca: await readFile(authority.path, 'utf8'),
    ...(await contentsOf(clientFiles(directory, 'client-0'))),
  };
  const ask = (method: string, path: string, body?: unknown, contentType = 'application/json') =>
    exchange(url + path, { method, admin, body, contentType });
  const apiServer = stack.use(
    await startProgram('kube-apiserver', join(programs, 'kube-apiserver'), apiServerArguments(), async () => {
      const answer = await ask('GET', '/readyz').catch(() => undefined);
      return answer?.status === 200;
    }),
  );
  function apiServerArguments(): string[] {
    return [
      `--etcd-servers=${etcd.url}`,
      ...[`--bind-address=${HOST}`, `--advertise-address=${HOST}`, `--secure-port=${port}`],
      ...[`--tls-cert-file=${server.cert}`, `--tls-private-key-file=${server.key}`],
      ...[`--client-ca-file=${authority.path}`, `--cert-dir=${directory}`],
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${tokenKey.pub}`,
      `--service-account-signing-key-file=${tokenKey.key}`,
      ...['--authorization-mode=RBAC', '--anonymous-auth=false', '--service-cluster-ip-range=10.0.0.0/24'],
      ...['--allow-privileged=true', '--endpoint-reconciler-type=none'],
      '--disable-admission-plugins=ServiceAccount',
    ];
  }
  if (options.controllers !== undefined) {
    const own = await kubeconfigOf('system:kube-controller-manager');
    const line = [
      ...[`--kubeconfig=${own}`, '--use-service-account-credentials=true', '--leader-elect=false'],
      ...['--secure-port=0', `--service-account-private-key-file=${tokenKey.key}`],
      ...[`--root-ca-file=${authority.path}`, `--controllers=${options.controllers.join(',')}`],
    ];
    stack.use(startChild(join(programs, 'kube-controller-manager'), line));
  }
  if (options.scheduler === true) {
    const own = await kubeconfigOf('system:kube-scheduler');
    const line = [`--kubeconfig=${own}`, '--leader-elect=false', '--secure-port=0'];
    stack.use(startChild(join(programs, 'kube-scheduler'), line));
  }
  const running = stack.move();
  return {
    ...{ url, kubeconfig, kubeconfigOf, ask, apiServer },
    compact: () => etcd.compact(),
    async kubectl(args, { input, kubeconfig: other = kubeconfig } = {}) {
      const calling = run(join(programs, 'kubectl'), [`--kubeconfig=${other}`, ...args], {
        maxBuffer: OUTPUT_BYTES,
        env: { ...process.env, HOME: directory },
      });
      calling.child.stdin?.end(input);
      return (await calling).stdout;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function startProgram(
  what: string,
  program: string,
  args: readonly string[],
  ready: () => Promise<boolean>,
): Promise<Restartable & AsyncDisposable> {
  let child: Child;
  const start = async () => {
    child = startChild(program, args);
    await untilReady(child, what, ready, READY_MS);
  };
  await start();
  return {
    start,
    async kill() {
      child.process.kill('SIGKILL');
      await child.stop();
    },
    pause: (isPaused) => void child.process.kill(isPaused ? 'SIGSTOP' : 'SIGCONT'),
    async [Symbol.asyncDispose]() {
      child.process.kill('SIGCONT');
      // It lets its watchers go on for a minute otherwise.
      await child.stop(1_000);
    },
  };
}

const clientFiles = (directory: string, name: string): Certificate => ({
  cert: join(directory, `${name}.crt`),
  key: join(directory, `${name}.key`),
});

async function writeKubeconfig(
  directory: string,
  name: string,
  {
    url,
    authority,
    subject,
  }: { readonly url: string; readonly authority: Authority; readonly subject: string },
): Promise<string> {
  const { cert, key } = await authority.issue(name, { subject });
  const path = join(directory, `${name}.kubeconfig`);
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'lab' },
    clusters: [{ name: 'lab', cluster: { server: url, 'certificate-authority': authority.path } }],
    users: [{ name: 'user', user: { 'client-certificate': cert, 'client-key': key } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'user' } }],
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

function exchange(
  url: string,
  {
    method,
    admin,
    body,
    contentType,
  }: {
    readonly method: string;
    readonly admin: Certificate & { readonly ca: string; readonly agent: Agent };
    readonly body: unknown;
    readonly contentType: string;
  },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = {
      accept: 'application/json',
      // A deletion with a body would not say how long that is.
      ...(text === '' ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(text) }),
    };
    const asked = request(url, { method, headers, ...admin }, (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        answer += part;
      });
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body: parsed(answer) }));
    });
    asked.once('error', reject);
    asked.end(text);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
