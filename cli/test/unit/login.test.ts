import { expect, test } from 'vitest';
import { isReadable } from '../../src/commands/login.ts';

test('a token goes in the clear to this host alone', () => {
  const here = [
    'https://a.example',
    'http://localhost:1',
    'http://127.0.0.1',
    'http://127.1',
    'http://[::1]:80',
  ];
  const elsewhere = [
    'http://a.example',
    'http://10.0.0.1',
    'http://127.0.0.1.a.example',
    'http://notlocalhost',
    'http://[::2]',
  ];
  expect(here.filter((url) => isReadable(new URL(url)))).toEqual([]);
  expect(elsewhere.filter((url) => !isReadable(new URL(url)))).toEqual([]);
});
