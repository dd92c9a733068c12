@echo off
rem A Kubeflow on this machine: cluster.bat up NAME. All that it takes: cluster.bat --help
setlocal EnableExtensions DisableDelayedExpansion
set "HERE=%~dp0"
set "CODE=2"
pushd "%HERE%"
call .\find-python.bat
popd
if defined FOUND call :start %*
if defined FOUND set "CODE=%errorlevel%"
if not "%CODE%"=="0" %HOLD%
exit /b %CODE%

:start
%FOUND% "%HERE%..\cluster.py" %*
exit /b %errorlevel%
