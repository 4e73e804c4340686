import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseFilters } from '../../../src/service/filter.ts';
import { Metadata } from '../../../src/service/metadata.ts';

const USAGE = { bytes: 4096, inodes: 2 };
const remote = { image: 'r/a@sha256:1', manifestDigest: 'sha256:1', layer: 0, layers: 2 };
const failing = (code: string) => expect.objectContaining({ code });
let directory: string;
let metadata: Metadata;

const active = (name: string, parent = '') =>
  metadata.create('active', { name, parent, labels: { made: 'here' } });
const commit = (key: string, name: string, parent = '') =>
  metadata.commit(key, { name, parent, labels: {} }, USAGE);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drakkar-metadata-'));
  metadata = new Metadata(join(directory, 'snapshots.sqlite'));
});

afterEach(() => {
  metadata[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});

describe('the records of snapshots', () => {
  test('keep what was committed under its own name, without the labels that it was written with', () => {
    const { id } = active('writing');
    expect(commit('writing', 'base')).toMatchObject({ id, kind: 'committed', labels: {}, usage: USAGE });
    expect(() => metadata.stat('writing')).toThrow(failing('not_found'));
    active('next', 'base');
    expect(metadata.parents('next').map(({ name }) => name)).toEqual(['base']);
  });

  test('refuse what containerd’s own refuses', () => {
    active('writing');
    expect(() => active('writing')).toThrow(failing('already_exists'));
    expect(() => active('upon', 'nothing')).toThrow(failing('not_found'));
    expect(() => active('upon', 'writing')).toThrow(failing('invalid_argument'));
    commit('writing', 'base');
    active('upon', 'base');
    expect(() => commit('upon', 'base')).toThrow(failing('already_exists'));
    expect(() => commit('base', 'again')).toThrow(failing('busy'));
    expect(() => commit('nothing', 'again')).toThrow(failing('not_found'));
    expect(() => metadata.remove('base')).toThrow(failing('busy'));
    metadata.remove('upon');
    metadata.remove('base');
    expect(() => metadata.remove('base')).toThrow(failing('not_found'));
    expect(metadata.list()).toEqual([]);
  });

  test('give what had no parent one when it is committed, and nothing another', () => {
    active('one');
    commit('one', 'base');
    active('two');
    expect(commit('two', 'upper', 'base').parent).toBe('base');
    active('three', 'upper');
    expect(() => commit('three', 'top', 'base')).toThrow(failing('invalid_argument'));
    expect(commit('three', 'top', 'upper').parent).toBe('upper');
  });

  test('change labels, all or some, and nothing else', () => {
    active('a');
    expect(metadata.update('a', { one: '1', two: '2' }, []).labels).toEqual({ one: '1', two: '2' });
    expect(metadata.update('a', { one: '', three: '3' }, ['labels.one', 'labels.three']).labels).toEqual({
      two: '2',
      three: '3',
    });
    expect(metadata.update('a', { four: '4' }, ['labels']).labels).toEqual({ four: '4' });
    expect(() => metadata.update('a', {}, ['kind'])).toThrow(failing('invalid_argument'));
    expect(() => metadata.update('b', {}, [])).toThrow(failing('not_found'));
    const { createdUs, updatedUs } = metadata.stat('a');
    expect(updatedUs).toBeGreaterThan(createdUs);
  });

  test('list what a filter matches', () => {
    metadata.createRemote(
      { name: 'layer', parent: '', labels: { 'containerd.io/snapshot.ref': 'layer' } },
      remote,
    );
    active('upon', 'layer');
    const list = (...filters: string[]) => metadata.list(parseFilters(filters)).map(({ name }) => name);
    expect(list('labels."containerd.io/snapshot.ref"==layer,kind==committed')).toEqual(['layer']);
    expect(list('parent==layer')).toEqual(['upon']);
    expect(list('parent==""')).toEqual(['layer']);
    expect(list('name', 'kind==view')).toEqual(['layer', 'upon']);
    expect(metadata.stat('layer').remote).toEqual(remote);
  });

  test('never give a number twice', () => {
    const { id } = active('a');
    metadata.remove('a');
    expect(active('a').id).toBeGreaterThan(id);
  });

  test('are there again when they are opened again; those of a newer release, and those of another process, are not touched', () => {
    active('a');
    const file = join(directory, 'snapshots.sqlite');
    expect(() => new Metadata(file)).toThrow(failing('busy'));
    metadata[Symbol.dispose]();
    metadata = new Metadata(file);
    expect(metadata.stat('a').labels).toEqual({ made: 'here' });
    metadata[Symbol.dispose]();
    const newer = new DatabaseSync(file);
    newer.exec('PRAGMA user_version = 99');
    newer.close();
    expect(() => new Metadata(file)).toThrow(failing('unsupported'));
    metadata = new Metadata(join(directory, 'other.sqlite'));
  });
});
