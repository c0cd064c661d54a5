import { createContext, use, useEffect, useMemo, useState, type ReactNode } from 'react'
import { en, type Texts } from './i18n/en'
import { zh } from './i18n/zh'

export type Theme = 'system' | 'light' | 'dark'
export type Language = 'en' | 'zh'

export const languages: Record<Language, { name: string; texts: Texts; tag: string }> = {
  en: { name: 'English', texts: en, tag: 'en' },
  zh: { name: '中文', texts: zh, tag: 'zh-CN' },
}

interface Preferences {
  theme: Theme
  setTheme: (t: Theme) => void
  language: Language
  setLanguage: (l: Language) => void
}

const Context = createContext<Preferences>({ theme: 'system', setTheme: () => undefined, language: 'en', setLanguage: () => undefined })

function stored<T extends string>(name: string, allowed: readonly T[], otherwise: T): T {
  try {
    const v = localStorage.getItem(name) as T | null
    return v !== null && allowed.includes(v) ? v : otherwise
  } catch {
    return otherwise // a browser that keeps nothing
  }
}

function useStored<T extends string>(name: string, allowed: readonly T[], otherwise: T): [T, (v: T) => void] {
  const [value, setValue] = useState(() => stored(name, allowed, otherwise))
  return [
    value,
    (v) => {
      setValue(v)
      try {
        localStorage.setItem(name, v)
      } catch {
        // It lasts as long as the page.
      }
    },
  ]
}

const darkness = '(prefers-color-scheme: dark)'

/** Puts the theme on the page; the system's is followed when it changes. */
function useThemeOnPage(theme: Theme) {
  useEffect(() => {
    const system = window.matchMedia(darkness)
    const apply = () => {
      document.documentElement.classList.toggle('pf-v6-theme-dark', theme === 'dark' || (theme === 'system' && system.matches))
    }
    apply()
    system.addEventListener('change', apply)
    return () => system.removeEventListener('change', apply)
  }, [theme])
}

/** Theme and language of this browser. */
export function PreferencesProvider({ children }: { children: ReactNode }) {
  const [theme, setTheme] = useStored<Theme>('meshlift.theme', ['system', 'light', 'dark'], 'system')
  const [language, setLanguage] = useStored<Language>('meshlift.language', ['en', 'zh'], navigator.language.startsWith('zh') ? 'zh' : 'en')
  useThemeOnPage(theme)
  useEffect(() => {
    document.documentElement.lang = languages[language].tag
  }, [language])
  const value = useMemo(() => ({ theme, setTheme, language, setLanguage }), [theme, setTheme, language, setLanguage])
  return <Context value={value}>{children}</Context>
}

export const usePreferences = () => use(Context)

/** All texts in the language of the user. */
export const useTexts = (): Texts => languages[usePreferences().language].texts

/** The language of numbers and times. */
export const useLocale = (): string => languages[usePreferences().language].tag
