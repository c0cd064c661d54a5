import { Dropdown, DropdownItem, DropdownList } from '@pf/Dropdown'
import { MenuToggle } from '@pf/MenuToggle'
import AdjustIcon from '@icons/adjust-icon'
import LanguageIcon from '@icons/language-icon'
import MoonIcon from '@icons/moon-icon'
import SunIcon from '@icons/sun-icon'
import { useState, type ReactNode } from 'react'
import { languages, usePreferences, useTexts, type Language, type Theme } from '../preferences'

interface Props<T extends string> {
  label: string
  icon: ReactNode
  chosen: T
  choices: [T, string][]
  onChoose: (v: T) => void
}

function Choice<T extends string>({ label, icon, chosen, choices, onChoose }: Props<T>) {
  const [open, setOpen] = useState(false)
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      popperProps={{ position: 'right' }}
      onSelect={(_, v) => {
        onChoose(v as T)
        setOpen(false)
      }}
      toggle={(ref) => <MenuToggle ref={ref} variant="plain" aria-label={label} isExpanded={open} onClick={() => setOpen(!open)} icon={icon} />}
    >
      <DropdownList>
        {choices.map(([value, name]) => (
          <DropdownItem key={value} value={value} isSelected={value === chosen}>
            {name}
          </DropdownItem>
        ))}
      </DropdownList>
    </Dropdown>
  )
}

const icons: Record<Theme, ReactNode> = { system: <AdjustIcon />, light: <SunIcon />, dark: <MoonIcon /> }

/** Light, dark, or as the system. */
export function ThemeSwitch() {
  const t = useTexts()
  const { theme, setTheme } = usePreferences()
  const { system, light, dark } = t.shell.themes
  return <Choice<Theme> label={t.shell.theme} icon={icons[theme]} chosen={theme} onChoose={setTheme} choices={[['system', system], ['light', light], ['dark', dark]]} />
}

/** The language of the pages. */
export function LanguageSwitch() {
  const t = useTexts()
  const { language, setLanguage } = usePreferences()
  const choices = (Object.keys(languages) as Language[]).map((l): [Language, string] => [l, languages[l].name])
  return <Choice<Language> label={t.shell.language} icon={<LanguageIcon />} chosen={language} onChoose={setLanguage} choices={choices} />
}
