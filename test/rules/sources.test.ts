// Goal: habits of docs/style that a linter does not know hold in every file.
// Method: read or parse every source file of ours; a finding names the file.
import { existsSync, readFileSync } from 'node:fs';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { filesIn, parse, visit } from './sources.ts';

const typescript = filesIn(['src', 'test', 'tools'], /\.(ts|mjs)$/);
const native = filesIn(['native'], /\.(cc|h)$/);

/** An implementation's guarantees stand in its header. */
function hasHeader(path: string): boolean {
  return path.endsWith('.cc') && existsSync(path.replace(/cc$/, 'h'));
}

test('every source file opens with what it guarantees', () => {
  const silent = [...typescript, ...native].filter((path) => {
    if (hasHeader(path)) return false;
    const text = readFileSync(path, 'utf8').replace(/^#!.*\n/, '');
    return !/^(\/\/|\/\*)/.test(text);
  });
  expect(silent).toEqual([]);
});

test('no type is any', () => {
  const found: string[] = [];
  for (const path of typescript) {
    const file = parse(path);
    visit(file, (node) => {
      if (node.kind !== ts.SyntaxKind.AnyKeyword) return;
      const { line } = file.getLineAndCharacterOfPosition(node.getStart());
      found.push(`${path}:${line + 1}`);
    });
  }
  expect(found).toEqual([]);
});
