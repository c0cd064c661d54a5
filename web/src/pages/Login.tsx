import { Button } from '@pf/Button'
import { Card, CardBody } from '@pf/Card'
import { Divider } from '@pf/Divider'
import { Form, FormGroup, FormHelperText } from '@pf/Form'
import { TextInput } from '@pf/TextInput'
import { Title } from '@pf/Title'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { Navigate, useLocation } from 'react-router'
import { api, call } from '../api/client'
import { keys } from '../api/keys'
import { SentenceAlert } from '../components/SentenceAlert'
import { useTexts } from '../preferences'
import { pageAfterLogin, useSession } from '../session'
import { Logo } from '../shell/Logo'
import { LanguageSwitch, ThemeSwitch } from '../shell/Switches'

/** Log in at the organization's provider, or with a token of Kubernetes. */
export function Login() {
  const t = useTexts()
  const { search } = useLocation()
  const session = useSession()
  const page = pageAfterLogin(search)
  const options = useQuery({ queryKey: keys.loginOptions, queryFn: ({ signal }) => call(api.GET('/api/v1/login', { signal })) })
  useEffect(() => {
    document.title = `${t.login.title} · ${t.common.product}`
  }, [t])
  if (session.data) {
    return <Navigate to={page} replace />
  }
  return (
    <main className="ml-login">
      <div className="ml-login-switches">
        <ThemeSwitch />
        <LanguageSwitch />
      </div>
      <Card isLarge className="ml-login-card">
        <CardBody className="ml-stack">
          <div className="ml-brand">
            <Logo size={40} />
            <Title headingLevel="h1" size="2xl">
              {t.common.product}
            </Title>
          </div>
          <p className="ml-muted">{t.login.intro}</p>
          {options.isError && <SentenceAlert of={options.error} />}
          {options.data?.oidc && (
            <>
              <Button component="a" href={`/api/v1/oidc/login?page=${encodeURIComponent(page)}`} isBlock size="lg">
                {t.login.oidc}
              </Button>
              <div className="ml-or">
                <Divider />
                <span className="ml-muted">{t.login.or}</span>
                <Divider />
              </div>
            </>
          )}
          <TokenForm primary={!options.data?.oidc} />
          {options.data && <p className="ml-muted ml-small">{t.login.version(options.data.version)}</p>}
        </CardBody>
      </Card>
    </main>
  )
}

function TokenForm({ primary }: { primary: boolean }) {
  const t = useTexts()
  const queries = useQueryClient()
  const [token, setToken] = useState('')
  const login = useMutation({
    mutationFn: () => call(api.POST('/api/v1/session', { body: { token: token.trim() } })),
    onSuccess: (session) => queries.setQueryData(keys.session, session),
  })
  return (
    <Form
      onSubmit={(e) => {
        e.preventDefault()
        login.mutate()
      }}
    >
      {login.isError && <SentenceAlert of={login.error} />}
      <FormGroup label={t.login.token} fieldId="token">
        <TextInput id="token" type="password" autoComplete="off" value={token} onChange={(_, v) => setToken(v)} autoFocus />
        <FormHelperText>
          <span className="ml-muted ml-small">
            {t.login.how} <code>kubectl create token NAME -n NAMESPACE</code>
          </span>
        </FormHelperText>
      </FormGroup>
      <Button type="submit" variant={primary ? 'primary' : 'secondary'} isBlock size="lg" isLoading={login.isPending} isDisabled={token.trim() === ''}>
        {t.login.submit}
      </Button>
    </Form>
  )
}
