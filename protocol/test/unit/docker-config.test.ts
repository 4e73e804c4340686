import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { credentialIn, parseDockerAuths, parseDockerConfig } from '../../src/docker-config.ts';
import { parseReference } from '../../src/reference.ts';

const auth = (username: string) => ({ username, password: 'x' });
/** As whom somebody comes for an image, where each key has its own name as the user's. */
const userOf = (keys: readonly string[], image: string) =>
  credentialIn(
    [parseDockerAuths(JSON.stringify(Object.fromEntries(keys.map((key) => [key, auth(key)]))))],
    parseReference(image),
  )?.username;

describe('a configuration of Docker’s', () => {
  test.each([
    ['registry.example', 'registry.example/app', true],
    ['https://registry.example', 'registry.example/app', true],
    ['http://registry.example/', 'registry.example/app', true],
    ['https://registry.example/v1/', 'registry.example/app', true],
    ['https://registry.example/v2/', 'registry.example/app', true],
    ['https://registry.example/v2/team', 'registry.example/team/app', true],
    ['https://registry.example/v2/team', 'registry.example/other/app', false],
    ['registry.example/team-a', 'registry.example/team-a/app', true],
    ['registry.example/team-a', 'registry.example/team-a', true],
    ['registry.example/team-a', 'registry.example/team-b/app', false],
    ['registry.example/team/', 'registry.example/team-b/app', false],
    ['registry.example', 'registry.example:5000/app', false],
    ['registry.example:5000', 'registry.example:5000/app', true],
    ['registry.example:*', 'registry.example:5000/app', false],
    ['*.azurecr.io', 'team.azurecr.io/app', true],
    ['*.azurecr.io', 'azurecr.io/app', false],
    ['*.azurecr.io', 'a.b.azurecr.io/app', false],
    ['*.*.azurecr.io', 'a.b.azurecr.io/app', true],
    ['*.azurecr.io:443', 'team.azurecr.io:443/app', true],
    ['*.dkr.ecr.*.amazonaws.com', '1.dkr.ecr.eu-west-1.amazonaws.com/app', true],
    ['pre*fix*.example', 'pre-1-fix.example/app', true],
    ['pre*fix*.example', 'prefi.example/app', false],
    ['ab*ba.example', 'aba.example/app', false],
    ['*.azurecr.io/team', 'x.azurecr.io/team/app', true],
    ['*.azurecr.io/team', 'x.azurecr.io/other', false],
    ['https://index.docker.io/v1/', 'debian', true],
    ['registry-1.docker.io', 'team/app', true],
    ['docker.io/team', 'team/app', true],
    ['docker.io/team', 'debian', false],
  ])('with %s for %s: %s', (key, image, isFor) => {
    expect(userOf([key], image)).toBe(isFor ? key : undefined);
  });

  test.each([
    [['registry.example', 'registry.example/team', 'registry.example/team/app'], 'registry.example/team/app'],
    [['registry.example', '*.example', 'registry.example/other'], 'registry.example'],
    [['*.example/team', '*.example'], '*.example/team'],
  ])('has of %j the narrowest count, in whatever order', (keys, narrowest) => {
    for (const order of [keys, keys.toReversed()])
      expect(userOf(order, 'registry.example/team/app:1')).toBe(narrowest);
  });

  test('counts before others where it says more, and where it comes first', () => {
    const configs = [{ 'a.example': 'first' }, { 'a.example': 'second', 'a.example/team': 'third' }].map(
      (each) =>
        parseDockerConfig(
          JSON.stringify({
            auths: Object.fromEntries(Object.entries(each).map(([key, name]) => [key, auth(name)])),
          }),
        ),
    );
    const of = (repository: string) => credentialIn(configs, { registry: 'a.example', repository })?.username;
    expect(of('app')).toBe('first');
    expect(of('team/app')).toBe('third');
  });

  test('is passed over where it has a key and nothing to show', () => {
    const config = { auths: { 'a.example/team': {}, 'a.example': { auth: btoa('me:secret:1') } } };
    const found = credentialIn([config], { registry: 'a.example', repository: 'team/app' });
    expect(found).toEqual({ username: 'me', password: 'secret:1' });
  });

  test('of one prefix after the other has the longest count', () => {
    const segment = fc.stringMatching(/^[a-z0-9]{1,4}$/);
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), fc.nat(), (segments, seed) => {
        const image = ['registry.example', ...segments].join('/');
        const keys = segments.map((_, index) => ['registry.example', ...segments.slice(0, index)].join('/'));
        const at = seed % keys.length;
        const shuffled = [...keys.slice(at), ...keys.slice(0, at)];
        expect(userOf(shuffled, image)).toBe(keys.at(-1));
      }),
    );
  });

  test('has stars stand for any characters of a part', () => {
    const glob = fc.stringMatching(/^[ab*]{1,8}$/);
    fc.assert(
      fc.property(glob, fc.stringMatching(/^[ab]{1,8}$/), (part, name) => {
        const isFor = new RegExp(`^${part.replaceAll('*', '.*')}$`).test(name);
        expect(userOf([`${part}.example`], `${name}.example/app`)).toBe(
          isFor ? `${part}.example` : undefined,
        );
      }),
    );
  });
});
