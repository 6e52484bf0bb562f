/** The repository's source files and what they import, for the rules' tests. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import ts from 'typescript';

export interface Import {
  readonly specifier: string;
  /** `type`: erased at build. `dynamic`: import() at run time, not paid for at start. */
  readonly kind: 'static' | 'type' | 'dynamic';
}

/** Paths of files below the folders, relative to the repository, `/` separated, sorted. */
export function filesIn(folders: readonly string[], extension: RegExp): string[] {
  return folders
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
    )
    .filter((path) => extension.test(path) && !path.includes('node_modules'))
    .sort();
}

export function parse(path: string): ts.SourceFile {
  return ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
}

export function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node);
  node.forEachChild((child) => visit(child, see));
}

export function importsOf(path: string): Import[] {
  const found: Import[] = [];
  visit(parse(path), (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      const specifier = node.moduleSpecifier;
      if (specifier === undefined || !ts.isStringLiteral(specifier)) return;
      found.push({ specifier: specifier.text, kind: isErased(node) ? 'type' : 'static' });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      const specifier = argument && ts.isStringLiteral(argument) ? argument.text : '(computed)';
      found.push({ specifier, kind: 'dynamic' });
    }
  });
  return found;
}

function isErased(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  return node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}

/** `src/pool/types.ts` for `../pool/types.ts` imported by `src/volume/x.ts`; undefined for packages. */
export function targetOf(importer: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return posix.normalize(posix.join(posix.dirname(importer), specifier));
}

/** Of the same import, `src/pool`. */
export function areaOf(importer: string, specifier: string): string | undefined {
  return targetOf(importer, specifier)?.split('/').slice(0, 2).join('/');
}
