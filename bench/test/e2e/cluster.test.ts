import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Fleet, type FleetHost, startFleet } from '../../src/fleet/fleet.ts';

const MAIN = join(import.meta.dirname, '../../../cli/src/main.js');

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({ hosts: 2, daemon: () => ({ log: { level: 'info' } }) });
});

afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
});

const configOf = (host: FleetHost) => join(dirname(host.stateDirectory), 'config.yaml');

function drakkar(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

async function states(): Promise<string[]> {
  return (await fleet.supernode.client.hosts()).map(({ name, state }) => `${name} ${state}`);
}

async function until(expected: readonly string[]): Promise<void> {
  for (const endMs = Date.now() + 30_000; (await states()).join() !== expected.join(); await sleep(50)) {
    if (Date.now() > endMs) throw new Error(`the hosts are ${(await states()).join()}`);
  }
}

test('a host says when it is ready and when it has joined, a line each', async () => {
  await until(['host-0 connected', 'host-1 connected']);
  // The supernode knows of a host before that has read its welcome.
  await vi.waitFor(() => {
    const lines = fleet.hosts[0]?.output().trim().split('\n') ?? [];
    const said = lines.filter((line) => line.startsWith('{"level"')).map((line) => JSON.parse(line));
    expect(said).toContainEqual(
      expect.objectContaining({ msg: 'ready', mirror: expect.stringContaining('http://127.0.0.1:') }),
    );
    expect(said).toContainEqual(
      expect.objectContaining({ msg: 'this host has joined the swarm', memberUntilMs: expect.any(Number) }),
    );
  }, 30_000);
});

test('a daemon that cannot start becomes no member', async () => {
  const [first] = fleet.hosts as [FleetHost];
  const config = JSON.parse(await readFile(configOf(first), 'utf8'));
  const { metricsPort } = await first.client.status();
  const stateDirectory = join(dirname(first.stateDirectory), 'other');
  await mkdir(stateDirectory);
  const file = join(stateDirectory, 'config.yaml');
  await writeFile(file, JSON.stringify({ ...config, stateDirectory, metrics: { port: metricsPort } }));
  const { code, stderr } = await drakkar('daemon', '--config', file);
  expect({ code, stderr }).toEqual({ code: 8, stderr: expect.stringContaining('metrics.port') });
  expect(stderr).not.toContain('joined');
  expect(await states()).toHaveLength(2);
});

test('the doctor says how a host stands in its swarm', async () => {
  const { stdout } = await drakkar('doctor', '--json', '--config', configOf(fleet.hosts[0] as FleetHost));
  const { checks } = JSON.parse(stdout) as { checks: { name: string; verdict: string }[] };
  for (const name of ['supernode', 'clock', 'membership', 'control port', 'data port', 'other hosts']) {
    expect(checks).toContainEqual(expect.objectContaining({ name, verdict: 'ok' }));
  }
});

test('a host that is away can be forgotten, and is a member again when it comes back', async () => {
  const second = fleet.hosts[1] as FleetHost;
  const forget = (...args: string[]) =>
    drakkar('supernode', 'forget', '--json', '--config', fleet.supernode.configFile, ...args);
  expect((await forget('host-1')).code).toBe(8);
  expect(JSON.parse((await forget('--away', '0s')).stdout)).toEqual({ forgotten: [] });
  await second.kill('SIGTERM');
  await until(['host-0 connected', 'host-1 away']);
  expect(JSON.parse((await forget('--away', '0s')).stdout)).toMatchObject({
    forgotten: [{ name: 'host-1' }],
  });
  expect(await states()).toEqual(['host-0 connected']);
  expect((await forget('host-1')).code).toBe(3);
  await second.start();
  await until(['host-0 connected', 'host-1 connected']);
});
