import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { source } from './load.mjs';

const names = await readdir(new URL('../../../crates/gateway/page/', import.meta.url));
const files = new Map(await Promise.all(names.map(async (name) => [name, await source(name)])));
const scripts = [...files].filter(([name]) => name.endsWith('.js'));

test('all files together are at most 60 KB compressed', () => {
  const total = [...files.values()].reduce((sum, text) => sum + gzipSync(text, { level: 9 }).length, 0);
  assert.ok(total <= 60 * 1024, String(total));
});

test('no text becomes markup or code', () => {
  for (const [name, text] of scripts) assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setTimeout\(['"`]/, name);
});

test('the policy holds: no inline script, style or listener, and nothing from elsewhere', () => {
  const html = files.get('index.html');
  assert.doesNotMatch(html, /<style|\sstyle=|\son[a-z]+=|javascript:/);
  assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)/);
  for (const [name, text] of files) {
    const elsewhere = text.replaceAll('http://www.w3.org/2000/svg', '').match(/https?:\/\/[^\s'"`]+/);
    assert.equal(elsewhere, null, name);
    assert.doesNotMatch(text, /setAttribute\(['"]style['"]/, name);
  }
});

test('every module is loaded at once, not one after the other', () => {
  const html = files.get('index.html');
  for (const [name] of scripts) assert.ok(html.includes(`/page/${name}"`), name);
  const named = [...html.matchAll(/\/page\/([\w.-]+)"/g)].map(([, name]) => name);
  for (const name of named) assert.ok(files.has(name), name);
});

test('imports name files that exist', () => {
  for (const [name, text] of scripts) for (const [, target] of text.matchAll(/from '\.\/([^']+)'/g)) assert.ok(files.has(target), `${name}: ${target}`);
});
