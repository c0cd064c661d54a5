import js from '@eslint/js'
import hooks from 'eslint-plugin-react-hooks'
import ts from 'typescript-eslint'

export default ts.config(
  { ignores: ['dist', 'node_modules', 'src/api/schema.ts'] },
  { files: ['src/**/*.{ts,tsx}'], extends: [js.configs.recommended, ts.configs.strict, ts.configs.stylistic, hooks.configs.flat.recommended] },
  { files: ['e2e/**/*.mjs'], extends: [js.configs.recommended], languageOptions: { globals: { process: 'readonly', console: 'readonly', document: 'readonly', window: 'readonly', performance: 'readonly' } } },
)
